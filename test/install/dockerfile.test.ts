import { validate } from 'dockerfile-utils';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { installationManifests } from '../../src/commands/install/installation.ts';

const root = join(import.meta.dirname, '../..');
const text = readFileSync(join(root, 'deploy/Dockerfile'), 'utf8');
/** Instructions, each on one line. */
const instructions = text
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, ' ')
  .split('\n')
  .filter((line) => line !== '');

describe('deploy/Dockerfile', () => {
  it('has nothing that a linter complains about', () => {
    expect(validate(text).map(({ message, range }) => ({ message, line: range.start.line + 1 }))).toEqual([]);
  });

  it('would be complained about with a mistake in it', () => {
    expect(validate(text.replace('USER ', 'USRE ')).map(({ message }) => message)).not.toEqual([]);
  });

  it('copies only what is there, and what .dockerignore lets through', () => {
    const ignore = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
    const sources = instructions
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(sources).toContain('package.json');
    for (const source of sources) {
      expect(existsSync(join(root, source)), source).toBe(true);
      expect(ignore, source).toContain(`!${source}`);
    }
  });

  it('has the programs that the executor runs, and runs as nobody', () => {
    const spawned = ['genisoimage', 'qemu-img'];
    const media = readFileSync(join(root, 'src/executor/virtual-machine/media.ts'), 'utf8');
    for (const program of spawned) expect(media).toContain(`'${program}'`);
    expect(text).toMatch(/apt-get install [^\n]* genisoimage qemu-utils/);
    expect(instructions.filter((line) => line.startsWith('USER '))).toEqual(['USER 64321:64321']);
  });

  it('is started with the arguments of a command, as the workloads do', () => {
    expect(instructions).toContain('ENTRYPOINT ["virtctl"]');
    const manifests = JSON.stringify(
      installationManifests({ image: 'x', replicas: 1, nodes: { names: ['a'] } }).filter(({ kind }) =>
        ['Deployment', 'DaemonSet'].includes(kind),
      ),
    );
    for (const part of ['controller', 'scheduler', 'executor']) expect(manifests).toContain(`"args":["${part}"`);
    expect(manifests).not.toContain('"command"');
    expect(manifests).toContain('"runAsUser":64321');
  });
});
