/** Key names of the code set linux (linux/input-event-codes.h), from code 1 on; a dot where there is none. */
const names = (
  'ESC 1 2 3 4 5 6 7 8 9 0 MINUS EQUAL BACKSPACE TAB Q W E R T Y U I O P LEFTBRACE RIGHTBRACE ENTER LEFTCTRL A S D F G H ' +
  'J K L SEMICOLON APOSTROPHE GRAVE LEFTSHIFT BACKSLASH Z X C V B N M COMMA DOT SLASH RIGHTSHIFT KPASTERISK LEFTALT SPACE ' +
  'CAPSLOCK F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NUMLOCK SCROLLLOCK KP7 KP8 KP9 KPMINUS KP4 KP5 KP6 KPPLUS KP1 KP2 KP3 KP0 ' +
  'KPDOT . ZENKAKUHANKAKU 102ND F11 F12 RO KATAKANA HIRAGANA HENKAN KATAKANAHIRAGANA MUHENKAN KPJPCOMMA KPENTER RIGHTCTRL ' +
  'KPSLASH SYSRQ RIGHTALT LINEFEED HOME UP PAGEUP LEFT RIGHT END DOWN PAGEDOWN INSERT DELETE MACRO MUTE VOLUMEDOWN ' +
  'VOLUMEUP POWER KPEQUAL KPPLUSMINUS PAUSE SCALE KPCOMMA HANGEUL HANJA YEN LEFTMETA RIGHTMETA COMPOSE STOP AGAIN PROPS ' +
  'UNDO FRONT COPY OPEN PASTE FIND CUT HELP MENU CALC SETUP SLEEP WAKEUP FILE SENDFILE DELETEFILE XFER PROG1 PROG2 WWW ' +
  'MSDOS SCREENLOCK ROTATE_DISPLAY CYCLEWINDOWS MAIL BOOKMARKS COMPUTER BACK FORWARD'
).split(' ');

const codes: ReadonlyMap<string, number> = new Map(
  names.flatMap((name, index): [string, number][] => (name === '.' ? [] : [[`KEY_${name}`, index + 1]])),
);

/**
 * The numbers of keys.
 *
 * @param keys Names as KEY_LEFTCTRL, in the code set linux only, or numbers.
 * @returns Why there are none, for a name that is not known.
 */
export function keyCodes(keys: readonly string[], codeSet: string): number[] | string {
  const found: number[] = [];
  for (const key of keys) {
    const number = /^(0x[0-9a-f]{1,4}|[0-9]{1,5})$/i.test(key) ? Number(key) : undefined;
    const code = number ?? (codeSet === 'linux' ? codes.get(key.toUpperCase()) : undefined);
    if (code === undefined) return `"${key}" is no key of the code set ${codeSet}: give its number`;
    found.push(code);
  }
  return found;
}
