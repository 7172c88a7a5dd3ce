/** The entry of the single executable (scripts/build-sea.ts), in which the words stand where a script's would. */
import process from 'node:process';
import { main } from './main.ts';

void main(process.argv.slice(2));
