#!/usr/bin/env node
/** The entry of the bundle, `dist/virtctl.js`, a CommonJS module: Node.js starts these sooner than ES modules. */
import process from 'node:process';
import { loadProgram } from './load-program.ts';

void loadProgram(__dirname, require).start().main(process.argv.slice(2));
