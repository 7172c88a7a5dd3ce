/** Names of options and the bits that libvirt has for them. */
export type FlagTable = Readonly<Record<string, number>>;

/** Options that are flags of libvirt: each may be set. */
export type Flags<Table extends FlagTable> = { readonly [Name in keyof Table]?: boolean | undefined };

/** The bits of the options that are true. */
export function flagBits<Table extends FlagTable>(table: Table, options: Flags<Table>): number {
  let bits = 0;
  for (const [name, bit] of Object.entries(table)) if (options[name] === true) bits |= bit;
  return bits >>> 0;
}

/** VIR_DOMAIN_AFFECT_…: what a change applies to. Neither is the domain as it is: live when it runs, else its configuration. */
export const affectFlags = { live: 1, config: 2 } as const;

/** Options of calls that change a running domain, its configuration, or both. */
export type AffectOptions = Flags<typeof affectFlags>;

/** VIR_TYPED_PARAM_STRING_OKAY: without it a daemon leaves out the parameters that are strings. */
export const stringsOkay = 4;
