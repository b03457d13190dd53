// The note-taking app of the tutorial (walk-through W2) with version 2 of the AWS SDK.
// usage: node notes_v2.js ENDPOINT BUCKET KEY TEXT
const AWS = require('aws-sdk');

const [endpoint, Bucket, Key, ...words] = process.argv.slice(2);
const s3 = new AWS.S3({
    accessKeyId: 'accessKey1',
    secretAccessKey: 'verySecretKey1',
    endpoint,
    s3ForcePathStyle: true,
});

s3.putObject({ Bucket, Key, Body: words.join(' ') }, (error, data) => {
    if (error) {
        console.error(error);
        process.exit(1);
    }
    console.log(`kept ${Key} as ${data.ETag}`);
});
