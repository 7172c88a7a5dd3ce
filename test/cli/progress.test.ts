import { Writable } from 'node:stream';
import { Chalk } from 'chalk';
import { describe, expect, it } from 'vitest';
import type { Context } from '../../src/cli/context.ts';
import { startProgress } from '../../src/cli/progress.ts';

/** A terminal that keeps what is written to it. */
class Terminal extends Writable {
  readonly isTTY: boolean;
  readonly columns = 80;
  text = '';

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }

  cursorTo(): boolean {
    return true;
  }

  clearLine(): boolean {
    return true;
  }

  moveCursor(): boolean {
    return true;
  }
}

function contextWith(stderr: Terminal): Context {
  let time = 0;
  return {
    stdin: process.stdin,
    stdout: stderr,
    stderr,
    env: {},
    cwd: '/',
    home: '/',
    signal: new AbortController().signal,
    now: () => (time += 1000),
    colours: () => Promise.resolve(new Chalk({ level: 0 })),
  };
}

describe('a progress line', () => {
  it('is shown on a terminal', async () => {
    const terminal = new Terminal(true);
    const progress = await startProgress(contextWith(terminal), 3);
    progress.update('2/3 web.xml');
    progress.stop();
    expect(terminal.text).toContain('2/3 web.xml');
  });

  it.each([
    ['in a pipe', false, 3],
    ['for a single step', true, 1],
  ])('is not shown %s', async (_where, isTTY, steps) => {
    const stderr = new Terminal(isTTY);
    const progress = await startProgress(contextWith(stderr), steps);
    progress.update('1/1 web.xml');
    progress.clear();
    progress.stop();
    expect(stderr.text).toBe('');
  });
});
