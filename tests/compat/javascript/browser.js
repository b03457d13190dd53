// What a real browser makes of the server's answers to other origins, and of buckets as websites.
// usage: node browser.js cors|website ENDPOINT BUCKET PROFILE   (PROFILE: an empty folder for the browser)
const assert = require('assert');
const crypto = require('crypto');
const http = require('http');
const {
    CreateBucketCommand, GetObjectCommand, HeadObjectCommand, PutBucketCorsCommand, PutBucketWebsiteCommand,
    PutObjectCommand, S3Client,
} = require('@aws-sdk/client-s3');
const { getSignedUrl } = require('@aws-sdk/s3-request-presigner');
const { chromium } = require('playwright-core');

const [scenario, endpoint, Bucket, profile] = process.argv.slice(2);
const credentials = { accessKeyId: 'accessKey1', secretAccessKey: 'verySecretKey1' };
const settings = { credentials, endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1 };
const s3 = new S3Client({ ...settings, requestChecksumCalculation: 'WHEN_REQUIRED' });
const send = (Command, input) => s3.send(new Command({ Bucket, ...input }));
// Metadata stays in headers, which a browser must ask for, and does not move into the URL.
const unhoistableHeaders = new Set(['x-amz-meta-colour']);
const presigned = (Command, input) =>
    getSignedUrl(s3, new Command({ Bucket, ...input }), { expiresIn: 300, unhoistableHeaders });
const text = async Key => (await send(GetObjectCommand, { Key })).Body.transformToString();
const absent = Key => assert.rejects(send(HeadObjectCommand, { Key }), error => error.$metadata.httpStatusCode === 404);

function hmac(key, words) {
    return crypto.createHmac('sha256', key).update(words).digest();
}

/// The fields of a form that may upload one key, signed with version 4.
function formFields(key, more = {}) {
    const now = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    const scope = [now.slice(0, 8), 'us-east-1', 's3', 'aws4_request'];
    const fields = {
        key, ...more,
        'x-amz-algorithm': 'AWS4-HMAC-SHA256',
        'x-amz-credential': [credentials.accessKeyId, ...scope].join('/'),
        'x-amz-date': now,
    };
    const conditions = [{ bucket: Bucket }, ...Object.entries(fields).map(([name, value]) => ({ [name]: value }))];
    const expiration = new Date(Date.now() + 300000).toISOString();
    const policy = Buffer.from(JSON.stringify({ expiration, conditions })).toString('base64');
    const signingKey = scope.reduce(hmac, `AWS4${credentials.secretAccessKey}`);
    return { ...fields, policy, 'x-amz-signature': hmac(signingKey, policy).toString('hex') };
}

/// Pages of another origin: nothing but a document to run scripts in.
async function pages() {
    const server = http.createServer((request, response) => {
        response.setHeader('content-type', 'text/html');
        response.end('<!DOCTYPE html><title>elsewhere</title><body></body>');
    });
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
    return { server, port: server.address().port };
}

/// A request made by a script of the page: what the script may see of its answer.
function fetched(page, url, options) {
    return page.evaluate(async ([address, given]) => {
        try {
            const answer = await fetch(address, given);
            return { status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text() };
        } catch (error) {
            return { refused: error.name };
        }
    }, [url, options]);
}

async function cors(browser) {
    const { server, port } = await pages();
    const [friend, stranger] = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
    await send(CreateBucketCommand, {});
    await send(PutBucketCorsCommand, {
        CORSConfiguration: {
            CORSRules: [{
                AllowedOrigins: [friend], AllowedMethods: ['GET', 'PUT', 'POST'],
                AllowedHeaders: ['content-type', 'x-amz-meta-*'], ExposeHeaders: ['ETag'], MaxAgeSeconds: 0,
            }],
        },
    });
    const page = await browser.newPage();
    await page.goto(friend);

    // A script uploads by a presigned URL. No browser sends a PUT to another origin before a preflight allows it.
    const headers = { 'content-type': 'text/plain', 'x-amz-meta-colour': 'blue' };
    const input = { ContentType: 'text/plain', Metadata: { colour: 'blue' } };
    const put = await fetched(page, await presigned(PutObjectCommand, { Key: 'put.txt', ...input }),
        { method: 'PUT', body: 'by script', headers });
    assert.strictEqual(put.status, 200, JSON.stringify(put));
    assert.match(put.headers.etag, /^"[0-9a-f]{32}"$/);
    assert.strictEqual(put.headers['x-amz-request-id'], undefined, 'it is not exposed');
    assert.strictEqual(await text('put.txt'), 'by script');
    const got = await fetched(page, await presigned(GetObjectCommand, { Key: 'put.txt' }));
    assert.deepStrictEqual([got.status, got.body], [200, 'by script']);

    // Errors can be read, too: a script must be able to tell what went wrong.
    const missing = await fetched(page, await presigned(GetObjectCommand, { Key: 'missing' }));
    assert.strictEqual(missing.status, 404);
    assert.match(missing.body, /<Code>NoSuchKey<\/Code>/);

    // A header or method that no rule allows is not sent at all.
    const url = await presigned(PutObjectCommand, { Key: 'not.txt' });
    for (const options of [{ method: 'PUT', body: 'x', headers: { 'x-other': '1' } }, { method: 'DELETE' }]) {
        assert.deepStrictEqual(await fetched(page, url, options), { refused: 'TypeError' });
    }
    await absent('not.txt');

    // A script uploads by a form.
    const posted = await page.evaluate(async ([address, fields]) => {
        const form = new FormData();
        Object.entries(fields).forEach(field => form.append(...field));
        form.append('file', new Blob(['by form'], { type: 'text/plain' }), 'name.txt');
        const answer = await fetch(address, { method: 'POST', body: form });
        return answer.status;
    }, [`${endpoint}/${Bucket}`, formFields('post.txt')]);
    assert.strictEqual(posted, 204);
    assert.strictEqual(await text('post.txt'), 'by form');

    // A person uploads by a form, which goes on to a page of the site's own.
    const fields = formFields('person.txt', { success_action_redirect: `${friend}/thanks` });
    await page.evaluate(([address, names]) => {
        const form = document.createElement('form');
        Object.assign(form, { action: address, method: 'post', enctype: 'multipart/form-data' });
        for (const [name, value] of Object.entries(names)) {
            form.append(Object.assign(document.createElement('input'), { type: 'hidden', name, value }));
        }
        form.append(Object.assign(document.createElement('input'), { type: 'file', name: 'file' }));
        form.append(Object.assign(document.createElement('button'), { textContent: 'upload' }));
        document.body.append(form);
    }, [`${endpoint}/${Bucket}`, fields]);
    const file = { name: 'p.txt', mimeType: 'text/plain', buffer: Buffer.from('by hand') };
    await page.setInputFiles('input[type=file]', file);
    await Promise.all([page.waitForURL(`${friend}/thanks?**`), page.click('button')]);
    const landed = new URL(page.url()).searchParams;
    assert.deepStrictEqual([landed.get('bucket'), landed.get('key')], [Bucket, 'person.txt']);
    assert.strictEqual(await text('person.txt'), 'by hand');

    // Another origin may neither upload nor read.
    const outside = await browser.newPage();
    await outside.goto(stranger);
    const theirs = await presigned(PutObjectCommand, { Key: 'stranger.txt', ...input });
    const sent = await fetched(outside, theirs, { method: 'PUT', body: 'x', headers });
    assert.deepStrictEqual(sent, { refused: 'TypeError' });
    await absent('stranger.txt');
    const read = await fetched(outside, await presigned(GetObjectCommand, { Key: 'put.txt' }));
    assert.deepStrictEqual(read, { refused: 'TypeError' });
    server.close();
}

async function website(browser) {
    const port = new URL(endpoint).port;
    const home = `http://${Bucket}.s3-website.localhost:${port}`;
    const page = (Key, body, more) => send(PutObjectCommand,
        { Key, Body: body, ContentType: 'text/html; charset=utf-8', ACL: 'public-read', ...more });
    await send(CreateBucketCommand, { ACL: 'public-read' });
    await page('index.html', '<title>home</title><script src="app.js"></script><a href="docs">docs</a>');
    await page('app.js', 'document.title += " with script"', { ContentType: 'text/javascript' });
    await page('docs/index.html', '<title>docs</title><a href="more.html">more</a>');
    await page('docs/more.html', '<title>more</title>');
    await page('new/page.html', '<title>new page</title>');
    await page('moved', '', { WebsiteRedirectLocation: '/docs/more.html' });
    await page('error.html', '<title>custom error</title>');
    const configure = WebsiteConfiguration => send(PutBucketWebsiteCommand, { WebsiteConfiguration });
    const plain = { IndexDocument: { Suffix: 'index.html' } };
    await configure({
        ...plain,
        ErrorDocument: { Key: 'error.html' },
        RoutingRules: [{ Condition: { KeyPrefixEquals: 'old/' }, Redirect: { ReplaceKeyPrefixWith: 'new/' } }],
    });
    const tab = await browser.newPage();
    const shows = async (path, status, title, landed = path) => {
        const answer = await tab.goto(home + path);
        assert.deepStrictEqual([answer.status(), await tab.title(), tab.url()], [status, title, home + landed]);
    };
    await shows('/', 200, 'home with script');
    // The link names a folder; only behind its slash do the folder's own links work.
    await Promise.all([tab.waitForURL(`${home}/docs/`), tab.click('text=docs')]);
    await Promise.all([tab.waitForURL(`${home}/docs/more.html`), tab.click('text=more')]);
    assert.strictEqual(await tab.title(), 'more');
    await shows('/moved', 200, 'more', '/docs/more.html');
    await shows('/old/page.html', 200, 'new page', '/new/page.html');
    await shows('/none', 404, 'custom error');

    await configure(plain);
    await shows('/none', 404, '404 Not Found');
    const hostile = '/%3Cimg%20src=x%20onerror=%22document.title=1%22%3E';
    await shows(hostile, 404, '404 Not Found');
    assert.strictEqual(await tab.locator('img').count(), 0);
    assert.match(await tab.locator('body').innerText(), /Key: <img src=x/);

    // A second bucket sends everybody to the first.
    const Second = { Bucket: `${Bucket}-www` };
    await send(CreateBucketCommand, Second);
    const RedirectAllRequestsTo = { HostName: new URL(home).host };
    await send(PutBucketWebsiteCommand, { ...Second, WebsiteConfiguration: { RedirectAllRequestsTo } });
    await tab.goto(`http://${Second.Bucket}.s3-website.localhost:${port}/docs/more.html`);
    assert.strictEqual(tab.url(), `${home}/docs/more.html`);
}

async function main() {
    const args = [
        '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ];
    const browser = await chromium.launchPersistentContext(profile, { executablePath: '/usr/bin/chromium', args });
    try {
        await { cors, website }[scenario](browser);
    } finally {
        await browser.close();
    }
    console.log('all as expected');
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
