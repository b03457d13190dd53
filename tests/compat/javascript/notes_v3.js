// The note-taking app of the tutorial (walk-through W2) with version 3 of the AWS SDK.
// usage: node notes_v3.js ENDPOINT BUCKET KEY TEXT
const { PutObjectCommand, S3Client } = require('@aws-sdk/client-s3');

const [endpoint, Bucket, Key, ...words] = process.argv.slice(2);
const s3 = new S3Client({
    credentials: { accessKeyId: 'accessKey1', secretAccessKey: 'verySecretKey1' },
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
});

s3.send(new PutObjectCommand({ Bucket, Key, Body: words.join(' ') })).then(
    data => console.log(`kept ${Key} as ${data.ETag}`),
    error => {
        console.error(error);
        process.exit(1);
    },
);
