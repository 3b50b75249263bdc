"use strict";

exports.handler = async () => ({ pid: process.pid });
