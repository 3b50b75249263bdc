'use strict';

// A function of the old style: it answers through the callback, and keeps a timer that nobody waits for.

let calls = 0;

exports.hello = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false;
  setInterval(() => {}, 60_000);
  calls += 1;
  if (!event.name) {
    callback(new Error('who is there?'));
    return;
  }
  callback(null, { greeting: `Hello, ${event.name}!`, calls });
};
