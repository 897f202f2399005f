/** Names that a certificate speaks for, each in its one canonical spelling. */
import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import ipaddr from 'ipaddr.js'

export interface SubjectName {
  readonly type: 'dns' | 'ip'
  /** Lower case, international names in punycode, IPv6 as RFC 5952 writes it. */
  readonly value: string
}

/** `domainToASCII` reads as a browser's address bar does, and drops or cuts what else there is. */
const spelling = /^[a-z0-9.\-\u{80}-\u{10ffff}]+$/iu
/** Letters, digits and inner hyphens, up to 63 a label (RFC 1123 §2.1). */
const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Undefined for what is neither an IP address, nor a host name, nor one below a leading `*.`. */
export function parseSubjectName(text: string): SubjectName | undefined {
  // A zone (`fe80::1%eth0`) means something on one machine only; a certificate has no place for it.
  if (isIP(text)) return text.includes('%') ? undefined : { type: 'ip', value: ipaddr.parse(text).toString() }
  const wildcard = text.startsWith('*.') ? '*.' : ''
  const asked = text.slice(wildcard.length)
  const host = spelling.test(asked) ? domainToASCII(asked) : ''
  const value = wildcard + host
  // It also turns 0x7f.1 into 127.0.0.1: not the name that was asked for.
  const valid = !isIP(host) && value.length <= 253 && host.split('.').every((part) => label.test(part))
  return valid ? { type: 'dns', value } : undefined
}
