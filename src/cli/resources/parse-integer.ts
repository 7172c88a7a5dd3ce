import { InvalidArgumentError } from 'commander';

/**
 * A parser of a flag's whole number.
 *
 * @param what For the message: "expected WHAT".
 * @param max Without it, any that a number holds exactly.
 * @throws InvalidArgumentError from the parser, which commander reports with the flag's name.
 */
export function parseInteger(what: string, min: number, max?: number): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= min && (max === undefined || value <= max)) return value;
    throw new InvalidArgumentError(
      max === undefined ? `expected ${what} of at least ${min}.` : `expected ${what} from ${min} to ${max}.`,
    );
  };
}

/** A parser of the port of something that is there. */
export const parsePort = parseInteger('a port', 1, 65_535);

/** A parser of a port to listen on; 0 is any. */
export const parseListenPort = parseInteger('a port', 0, 65_535);
