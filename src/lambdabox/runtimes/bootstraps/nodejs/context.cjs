'use strict';
/** The context object of an invocation, for both generations of AWS's client. */

const REQUIRED_VARIABLES = [
  'AWS_LAMBDA_FUNCTION_NAME',
  'AWS_LAMBDA_FUNCTION_VERSION',
  'AWS_LAMBDA_FUNCTION_MEMORY_SIZE',
  'AWS_LAMBDA_LOG_GROUP_NAME',
  'AWS_LAMBDA_LOG_STREAM_NAME',
];
const TRACE_FIELDS = ['traceparent', 'tracestate', 'baggage'];
const REQUIRED_HEADERS = [
  'lambda-runtime-invoked-function-arn',
  'lambda-runtime-aws-request-id',
  'lambda-runtime-deadline-ms',
];

const environment = {
  functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
  functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
  memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
  logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
  logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
};

/** The names that Node.js 24's client insists on and this environment lacks. */
function missingVariables() {
  return REQUIRED_VARIABLES.filter((name) => !process.env[name]);
}

function missingHeaders(headers) {
  return REQUIRED_HEADERS.filter((name) => !headers[name]);
}

/** Headers arrive as bytes; JSON in them may be UTF-8. */
function parseJson(value, describe) {
  if (value === undefined || value === '') return undefined;
  const text = /[\x80-\xff]/.test(value) ? Buffer.from(value, 'latin1').toString('utf8') : value;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw describe(error);
  }
}

/** Tell X-Ray's SDK, which reads the variable at each segment. */
function setTraceId(traceId) {
  if (traceId) process.env._X_AMZN_TRACE_ID = traceId;
  else delete process.env._X_AMZN_TRACE_ID;
}

/** The context of Node.js 22 and older, without its callbacks: the loop adds them. */
function classicContext(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    callbackWaitsForEmptyEventLoop: true,
    succeed: undefined,
    fail: undefined,
    done: undefined,
    functionVersion: environment.functionVersion,
    functionName: environment.functionName,
    memoryLimitInMB: environment.memoryLimitInMB,
    logGroupName: environment.logGroupName,
    logStreamName: environment.logStreamName,
    clientContext: parseJson(
      headers['lambda-runtime-client-context'],
      (error) => new Error(`Cannot parse ClientContext as json: ${error}`),
    ),
    identity: parseJson(
      headers['lambda-runtime-cognito-identity'],
      (error) => new Error(`Cannot parse CognitoIdentity as json: ${error}`),
    ),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

/** Move W3C trace fields out of the client context: `{traceparent?, tracestate?, baggage?}`, text values only. */
function takeTraceFields(clientContext) {
  const fields = {};
  if (clientContext === null || typeof clientContext !== 'object' || !('w3c' in clientContext)) return fields;
  const source = clientContext.w3c;
  delete clientContext.w3c;
  if (source === null || typeof source !== 'object' || Array.isArray(source)) return fields;
  for (const name of TRACE_FIELDS) {
    if (Object.prototype.hasOwnProperty.call(source, name) && typeof source[name] === 'string') fields[name] = source[name];
  }
  return fields;
}

/** The context of Node.js 24 and newer: no callbacks, and the trace header on it. */
function modernContext(headers, platformError) {
  const missing = missingHeaders(headers);
  if (missing.length > 0) throw platformError(`Missing required headers: ${missing.join(', ')}`);
  const deadline = parseInt(headers['lambda-runtime-deadline-ms'], 10);
  if (Number.isNaN(deadline)) throw platformError('Invalid deadline timestamp');
  const json = (name) =>
    parseJson(headers[name], (error) => platformError(`Failed to parse ${name} as JSON: ${error.message}`));
  const clientContext = json('lambda-runtime-client-context');
  const traceFields = takeTraceFields(clientContext);
  return {
    clientContext,
    identity: json('lambda-runtime-cognito-identity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    xRayTraceId: headers['lambda-runtime-trace-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
    w3c: () => ({ ...traceFields }),
    functionName: environment.functionName,
    functionVersion: environment.functionVersion,
    memoryLimitInMB: environment.memoryLimitInMB,
    logGroupName: environment.logGroupName,
    logStreamName: environment.logStreamName,
  };
}

module.exports = { classicContext, missingVariables, modernContext, setTraceId };
