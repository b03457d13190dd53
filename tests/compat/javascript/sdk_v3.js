// What applications do with version 3 of the AWS SDK for JavaScript.
// usage: node sdk_v3.js ENDPOINT BUCKET   (NODE_EXTRA_CA_CERTS names the authority for https)
const assert = require('assert');
const crypto = require('crypto');
const { Readable } = require('stream');
const {
    CopyObjectCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand,
    HeadObjectCommand, ListObjectVersionsCommand, PutBucketVersioningCommand, PutObjectCommand, S3Client,
    paginateListObjectsV2,
} = require('@aws-sdk/client-s3');
const { Upload } = require('@aws-sdk/lib-storage');
const { getSignedUrl } = require('@aws-sdk/s3-request-presigner');

const MIB = 1024 * 1024;
const [endpoint, Bucket] = process.argv.slice(2);
const settings = {
    credentials: { accessKeyId: 'accessKey1', secretAccessKey: 'verySecretKey1' },
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
};
const s3 = new S3Client(settings);
// Whoever signs an upload for somebody else must not sign the checksum of the body that is not there yet.
const signer = new S3Client({ ...settings, requestChecksumCalculation: 'WHEN_REQUIRED' });
const digest = data => crypto.createHash('sha256').update(data).digest('hex');
const send = (Command, input) => s3.send(new Command({ Bucket, ...input }));
const read = async input => Buffer.from(await (await send(GetObjectCommand, input)).Body.transformToByteArray());

async function refused(promise, name, status) {
    await assert.rejects(promise, error => {
        assert.strictEqual(error.name, name);
        assert.strictEqual(error.$metadata.httpStatusCode, status);
        return true;
    });
}

async function main() {
    await send(CreateBucketCommand, {});

    const small = crypto.randomBytes(5000);
    const Key = 'a/ü +&=?.bin';
    await send(PutObjectCommand, { Key, Body: small, Metadata: { colour: 'blue' } });
    assert.strictEqual(digest(await read({ Key })), digest(small));
    const head = await send(HeadObjectCommand, { Key, ChecksumMode: 'ENABLED' });
    assert.deepStrictEqual(head.Metadata, { colour: 'blue' });
    assert(head.ChecksumCRC32, 'this SDK sends a CRC32 with every object');

    // A stream of unknown digest goes out as aws-chunked with the checksum in a trailer.
    const streamed = crypto.randomBytes(3 * MIB + 5);
    for (const ChecksumAlgorithm of ['CRC32', 'SHA1', 'SHA256']) {
        const Body = Readable.from([streamed.subarray(0, MIB), streamed.subarray(MIB)]);
        const put = await send(PutObjectCommand, {
            Key: ChecksumAlgorithm, Body, ContentLength: streamed.length, ChecksumAlgorithm,
        });
        assert(put[`Checksum${ChecksumAlgorithm}`]);
        const got = await send(GetObjectCommand, { Key: ChecksumAlgorithm, ChecksumMode: 'ENABLED' });
        assert.strictEqual(got[`Checksum${ChecksumAlgorithm}`], put[`Checksum${ChecksumAlgorithm}`]);
        assert.strictEqual(digest(Buffer.from(await got.Body.transformToByteArray())), digest(streamed));
    }

    const large = crypto.randomBytes(16 * MIB + 7);
    const upload = new Upload({
        client: s3, partSize: 5 * MIB, queueSize: 3,
        params: { Bucket, Key: 'large', Body: Readable.from([large]) },
    });
    const completed = await upload.done();
    assert(completed.ETag.endsWith('-4"'));
    assert.strictEqual(digest(await read({ Key: 'large' })), digest(large));

    await send(CopyObjectCommand, { Key: 'copy', CopySource: `${Bucket}/${encodeURIComponent(Key)}` });
    assert.strictEqual(digest(await read({ Key: 'copy' })), digest(small));

    const keys = [];
    for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket })) {
        keys.push(...page.Contents.map(one => one.Key));
    }
    assert.deepStrictEqual(keys, ['CRC32', 'SHA1', 'SHA256', Key, 'copy', 'large']);

    const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key }), { expiresIn: 60 });
    const answer = await fetch(url);
    assert.strictEqual(answer.status, 200);
    assert.strictEqual(digest(Buffer.from(await answer.arrayBuffer())), digest(small));
    const forged = await fetch(url.replace(/Signature=..../, 'Signature=0000'));
    assert.strictEqual(forged.status, 403);
    const put = await getSignedUrl(signer, new PutObjectCommand({ Bucket, Key: 'signed' }), { expiresIn: 60 });
    assert.strictEqual((await fetch(put, { method: 'PUT', body: small })).status, 200);
    assert.strictEqual(digest(await read({ Key: 'signed' })), digest(small));

    await refused(send(PutObjectCommand, { Key, Body: 'x', IfNoneMatch: '*' }), 'PreconditionFailed', 412);
    await refused(send(GetObjectCommand, { Key: 'none' }), 'NoSuchKey', 404);
    await refused(send(HeadObjectCommand, { Key: 'none' }), 'NotFound', 404);
    await refused(send(DeleteBucketCommand, {}), 'BucketNotEmpty', 409);

    await send(PutBucketVersioningCommand, { VersioningConfiguration: { Status: 'Enabled' } });
    const { VersionId } = await send(PutObjectCommand, { Key: 'v', Body: '1' });
    await send(PutObjectCommand, { Key: 'v', Body: '2' });
    assert.strictEqual((await read({ Key: 'v', VersionId })).toString(), '1');
    assert.strictEqual((await read({ Key: 'v' })).toString(), '2');

    const { Versions } = await send(ListObjectVersionsCommand, {});
    const Objects = Versions.map(one => ({ Key: one.Key, VersionId: one.VersionId }));
    const removed = await send(DeleteObjectsCommand, { Delete: { Objects } });
    assert.strictEqual(removed.Deleted.length, Objects.length);
    await send(DeleteBucketCommand, {});
    console.log('all as expected');
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
