import { describe, expect, it } from 'vitest';
import { keyCodes } from '../../../src/executor/virtual-machine-operation/key-codes.ts';

describe('the numbers of keys', () => {
  it("are Linux' own for its names", () => {
    const names = ['KEY_ESC', 'KEY_LEFTCTRL', 'KEY_LEFTALT', 'KEY_DELETE', 'KEY_F12', 'key_enter', 'KEY_POWER'];
    expect(keyCodes(names, 'linux')).toEqual([1, 29, 56, 111, 88, 28, 116]);
  });

  it('may be given, in any code set', () => {
    expect(keyCodes(['30', '0x1e'], 'usb')).toEqual([30, 30]);
  });

  it('are not guessed', () => {
    expect(keyCodes(['KEY_NONE'], 'linux')).toContain('KEY_NONE');
    expect(keyCodes(['KEY_A'], 'usb')).toContain('KEY_A');
  });
});
