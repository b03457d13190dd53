// What applications do with version 2 of the AWS SDK for JavaScript.
// usage: node sdk_v2.js ENDPOINT BUCKET SIGNATURE   (SIGNATURE: v4 or v2)
const assert = require('assert');
const crypto = require('crypto');
const http = require('http');
const { Readable } = require('stream');
const AWS = require('aws-sdk');

const MIB = 1024 * 1024;
const [endpoint, Bucket, signatureVersion] = process.argv.slice(2);
const s3 = new AWS.S3({
    accessKeyId: 'accessKey1',
    secretAccessKey: 'verySecretKey1',
    endpoint,
    region: 'us-east-1',
    s3ForcePathStyle: true,
    signatureVersion,
    maxRetries: 0,
});
const digest = data => crypto.createHash('sha256').update(data).digest('hex');

function fetchUrl(url) {
    return new Promise((resolve, reject) => {
        http.get(url, answer => {
            const chunks = [];
            answer.on('data', chunk => chunks.push(chunk));
            answer.on('end', () => resolve({ status: answer.statusCode, body: Buffer.concat(chunks) }));
        }).on('error', reject);
    });
}

async function refused(promise, code) {
    await assert.rejects(promise, error => {
        assert.strictEqual(error.code, code);
        return true;
    });
}

async function main() {
    await s3.createBucket({ Bucket }).promise();
    const { Buckets } = await s3.listBuckets().promise();
    assert(Buckets.some(one => one.Name === Bucket));

    const small = crypto.randomBytes(5000);
    const key = 'a/ü +&=?.bin';
    await s3.putObject({ Bucket, Key: key, Body: small, Metadata: { Colour: 'blue' }, ContentType: 'x/y' }).promise();
    const got = await s3.getObject({ Bucket, Key: key }).promise();
    assert.strictEqual(digest(got.Body), digest(small));
    assert.deepStrictEqual(got.Metadata, { colour: 'blue' });
    assert.strictEqual(got.ContentType, 'x/y');
    const ranged = await s3.getObject({ Bucket, Key: key, Range: 'bytes=10-19' }).promise();
    assert(ranged.Body.equals(small.subarray(10, 20)));

    const large = crypto.randomBytes(12 * MIB);
    await s3.upload({ Bucket, Key: 'large', Body: Readable.from([large]) }, { partSize: 5 * MIB, queueSize: 2 }).promise();
    const chunks = [];
    for await (const chunk of s3.getObject({ Bucket, Key: 'large' }).createReadStream()) {
        chunks.push(chunk);
    }
    assert.strictEqual(digest(Buffer.concat(chunks)), digest(large));

    await s3.copyObject({ Bucket, Key: 'copy', CopySource: `${Bucket}/${encodeURIComponent(key)}` }).promise();
    const listed = await s3.listObjectsV2({ Bucket }).promise();
    assert.deepStrictEqual(listed.Contents.map(one => one.Key), [key, 'copy', 'large']);

    const url = s3.getSignedUrl('getObject', { Bucket, Key: key, Expires: 60 });
    const answer = await fetchUrl(url);
    assert.strictEqual(answer.status, 200);
    assert.strictEqual(digest(answer.body), digest(small));

    await s3.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }).promise();
    const first = await s3.putObject({ Bucket, Key: 'v', Body: '1' }).promise();
    const second = await s3.putObject({ Bucket, Key: 'v', Body: '2' }).promise();
    assert(first.VersionId && second.VersionId && first.VersionId !== second.VersionId);
    const old = await s3.getObject({ Bucket, Key: 'v', VersionId: first.VersionId }).promise();
    assert.strictEqual(old.Body.toString(), '1');

    await refused(s3.getObject({ Bucket, Key: 'none' }).promise(), 'NoSuchKey');
    await refused(s3.headBucket({ Bucket: `${Bucket}-none` }).promise(), 'NotFound');
    await refused(s3.deleteBucket({ Bucket }).promise(), 'BucketNotEmpty');

    const versions = await s3.listObjectVersions({ Bucket }).promise();
    const Objects = versions.Versions.map(({ Key, VersionId }) => ({ Key, VersionId }));
    const removed = await s3.deleteObjects({ Bucket, Delete: { Objects } }).promise();
    assert.strictEqual(removed.Deleted.length, Objects.length);
    await s3.deleteBucket({ Bucket }).promise();
    console.log('all as expected');
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
