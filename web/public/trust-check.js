// Registered by /welcome and taken away again: browsers refuse a service worker where a certificate warning was
// clicked away, and nothing else tells that apart from a certificate that is trusted.
addEventListener('install', (event) => event.waitUntil(skipWaiting()))
