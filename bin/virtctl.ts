#!/usr/bin/env node
/** The entry from the sources. What `npm run build` makes starts in launch.ts. */
import process from 'node:process';
import { main } from './main.ts';

await main(process.argv.slice(2));
