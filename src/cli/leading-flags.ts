/** Flags of every command that speaks to the API server, which kubectl takes before the command's name as well. */
const withValue: ReadonlySet<string> = new Set(['-n', '--namespace', '--context', '--kubeconfig']);

/**
 * Puts flags that stand before the command behind everything else: `-n shop get vm` as `get vm -n shop`, as kubectl
 * takes them.
 *
 * @param argv The words after the program's name.
 * @returns The same words; in another order when such flags lead. What follows `--` stays behind it.
 */
export function moveLeadingFlags(argv: readonly string[]): string[] {
  const leading: string[] = [];
  let start = 0;
  for (; start < argv.length; start += 1) {
    const word = argv[start] ?? '';
    const [name = '', value] = word.startsWith('--')
      ? word.split('=', 2)
      : [word.slice(0, 2), word.slice(2) || undefined];
    if (word === '--verbose') leading.push(word);
    else if (!withValue.has(name)) break;
    else if (value !== undefined) leading.push(word);
    else {
      start += 1;
      leading.push(word, ...argv.slice(start, start + 1));
    }
  }
  const rest = argv.slice(start);
  const end = rest.indexOf('--');
  if (rest.length === 0) return [...argv];
  return end < 0 ? [...rest, ...leading] : [...rest.slice(0, end), ...leading, ...rest.slice(end)];
}
