// Sends requests for image blobs to the store; everything else of `/v2/` goes on to the registry.
//
// CloudFront function, runtime cloudfront-js-2.0, at viewer requests of `/v2/*`. environment.yaml holds a copy of it.
// It cannot ask the store, so a blob that is not there is a 404 of the store's.

// Address of the store without a slash at the end; empty: the distribution that runs this.
const store = '';

const blob = /^\/v2\/[a-z0-9][a-z0-9._\/-]*\/blobs\/sha256(?::|%3[Aa])([0-9a-f]{64})$/;

// CloudFront follows `..` and decodes before it takes a path for one of `/v2/*`, and hands it on as it came, which the registry
// may read otherwise. So none passes that names of repositories, tags and digests do not need.
const known = /^\/v2\/(?:[A-Za-z0-9_.:+=\/-]|%3[Aa])*$/;
const elsewhere = /\/[.\/]/;

function handler(event) {
    const request = event.request;
    if (!known.test(request.uri) || elsewhere.test(request.uri)) {
        return { statusCode: 404, statusDescription: 'Not Found' };
    }
    const found = blob.exec(request.uri);
    if (found === null || (request.method !== 'GET' && request.method !== 'HEAD')) {
        return request;
    }
    return {
        statusCode: 307,
        statusDescription: 'Temporary Redirect',
        headers: {
            location: { value: store + '/containers/images/sha256:' + found[1] },
            'cache-control': { value: 'public, max-age=3600' },
        },
    };
}
