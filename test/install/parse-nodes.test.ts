import { describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { parseNodes } from '../../src/commands/install/parse-nodes.ts';

describe('the nodes that get an executor', () => {
  it('are those with our label, those of a name or label, or none', () => {
    expect(parseNodes(undefined)).toEqual({ labels: { 'virtctl.dev/hypervisor': 'true' } });
    expect(parseNodes('node-1,b.example')).toEqual({ names: ['node-1', 'b.example'] });
    expect(parseNodes('rack=1,example.org/Row=')).toEqual({ labels: { rack: '1', 'example.org/Row': '' } });
    expect(parseNodes('none')).toBeUndefined();
  });

  it.each(['', ',', '=', 'a=b=c', 'a;b', 'Node_1', 'a..b', '-a', 'rack=1;2', '/rack=1', 'Example.org/rack=1', 'a,b=1'])(
    'cannot be "%s"',
    async (nodes) => {
      expect(await commandLine(['install', '--dry-run', `--nodes=${nodes}`])).toMatchObject({
        exitCode: 2,
        stdout: '',
      });
    },
  );

  it('are not asked for with an executable that is not there', async () => {
    const words = ['install', 'node', 'root@node-1', '--binary', '/nonexistent/virtctl'];
    expect(await commandLine(words)).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('/nonexistent/virtctl: no such file or folder') as string,
    });
  });
});
