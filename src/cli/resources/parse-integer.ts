import { InvalidArgumentError } from 'commander';

/**
 * A parser of a flag's whole number.
 *
 * @param what For the message: "expected WHAT".
 * @throws InvalidArgumentError from the parser, which commander reports with the flag's name.
 */
export function parseInteger(what: string, min: number): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= min) return value;
    throw new InvalidArgumentError(`expected ${what} of at least ${min}.`);
  };
}
