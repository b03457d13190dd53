"""moto's server, with two of its faults mended that a store must not have: run as its own command would be."""

import sys

from moto.s3 import exceptions, models
from moto.server import main

Backend = models.S3Backend
complete, versions = Backend.complete_multipart_upload, Backend.list_object_versions


def complete_multipart_upload(self, bucket_name, multipart_id, body):
    """An upload that is gone is NoSuchUpload, no fault of the server."""
    if multipart_id not in self.get_bucket(bucket_name).multiparts:
        raise exceptions.NoSuchUpload(upload_id=multipart_id)
    return complete(self, bucket_name, multipart_id, body)


def list_object_versions(self, bucket_name, *others, key_marker=None, **named):
    """Behind a key that is not there the list goes on with the next one, not with the one after that."""
    if key_marker and not named.get("version_id_marker"):
        before = [name for name in self.get_bucket(bucket_name).keys if name <= key_marker]
        key_marker = max(before, default=None)
    return versions(self, bucket_name, *others, key_marker=key_marker, **named)


Backend.complete_multipart_upload = complete_multipart_upload
Backend.list_object_versions = list_object_versions

if __name__ == "__main__":
    main(sys.argv[1:])
