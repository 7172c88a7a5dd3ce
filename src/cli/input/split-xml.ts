/**
 * Where one XML document ends and the next begins in a text of several, one after another (`virsh dumpxml a; virsh
 * dumpxml b`). It only counts tags: a text that is not well-formed comes back as one document, and its reader says
 * what is wrong.
 */
export function splitXml(text: string): { start: number; end: number }[] {
  const documents: { start: number; end: number }[] = [];
  let start = 0;
  let depth = 0;
  let rootSeen = false;
  for (let at = text.indexOf('<'); at !== -1; at = text.indexOf('<', at)) {
    const tag = tagAt(text, at);
    if (tag === undefined) return [{ start: 0, end: text.length }];
    if (rootSeen && depth === 0 && tag.begins) {
      documents.push({ start, end: at });
      start = at;
      rootSeen = false;
    }
    if (tag.depth !== 0 || tag.empty) rootSeen = true;
    depth += tag.depth;
    if (depth < 0) return [{ start: 0, end: text.length }];
    at = tag.end;
  }
  documents.push({ start, end: text.length });
  return depth === 0 ? documents : [{ start: 0, end: text.length }];
}

interface Tag {
  readonly end: number;
  /** 1 for a start tag, -1 for an end tag, 0 for the rest. */
  readonly depth: number;
  readonly empty: boolean;
  /** Whether a document may begin with it once the one before has its root. */
  readonly begins: boolean;
}

function tagAt(text: string, at: number): Tag | undefined {
  if (text.startsWith('<!--', at)) return until(text, '-->', at + 4, false);
  if (text.startsWith('<![CDATA[', at)) return until(text, ']]>', at + 9, false);
  if (text.startsWith('<?', at)) return until(text, '?>', at + 2, /^<\?xml[\s?]/.test(text.slice(at, at + 7)));
  if (text.startsWith('<!', at)) return undefined;
  // A ">" inside an attribute's value does not end the tag.
  const rest = /[^<>"']*(?:"[^"]*"[^<>"']*|'[^']*'[^<>"']*)*>/y;
  rest.lastIndex = at + 1;
  const match = rest.exec(text);
  if (match === null) return undefined;
  const empty = match[0].endsWith('/>');
  const closes = text[at + 1] === '/';
  return { end: rest.lastIndex, depth: empty ? 0 : closes ? -1 : 1, empty, begins: !closes };
}

function until(text: string, end: string, from: number, begins: boolean): Tag | undefined {
  const found = text.indexOf(end, from);
  return found === -1 ? undefined : { end: found + end.length, depth: 0, empty: false, begins };
}
