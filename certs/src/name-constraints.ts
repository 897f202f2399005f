/** What a CA may sign for, as its certificate says it in the critical extension of RFC 5280 §4.2.1.10. */
import 'reflect-metadata'
import { AsnConvert } from '@peculiar/asn1-schema'
import {
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  NameConstraints,
  id_ce_nameConstraints,
} from '@peculiar/asn1-x509'
import { Extension, type X509Certificate } from '@peculiar/x509'
import ipaddr from 'ipaddr.js'
import type { SubjectName } from './subject-name.ts'

/** DNS names (and all below them), and IPv4 and IPv6 ranges as CIDR. */
export interface Permitted {
  readonly dns: readonly string[]
  readonly ip: readonly string[]
}

/** A domain that can't exist (RFC 2606): permitted alone, it permits nothing. */
const nowhere = 'nobody.invalid'

/**
 * What is not named is open, so each type that a verifier may match is named: what is permitted, and for an
 * empty DNS, IPv4 or IPv6 the exclusion of all of it, as the CA/Browser Forum's §7.1.5 writes it. E-mail and
 * URIs are not for us to sign; Apple's, OpenSSL's and Go's verifiers know these types.
 */
export function nameConstraints({ dns, ip }: Permitted): Extension {
  const ranges = ip.map(networkOf)
  const permitted = [
    ...dns.map((name) => new GeneralName({ dNSName: name.toLowerCase() })),
    ...ranges.map((range) => new GeneralName({ iPAddress: range })),
    new GeneralName({ rfc822Name: nowhere }),
    new GeneralName({ uniformResourceIdentifier: nowhere }),
  ]
  const excluded = [
    ...(dns.length > 0 ? [] : [new GeneralName({ dNSName: '' })]),
    ...(ranges.some(isIpv4) ? [] : [new GeneralName({ iPAddress: '0.0.0.0/0' })]),
    ...(ranges.some(isIpv6) ? [] : [new GeneralName({ iPAddress: '::/0' })]),
  ]
  const constraints = new NameConstraints({
    permittedSubtrees: subtrees(permitted),
    ...(excluded.length > 0 && { excludedSubtrees: subtrees(excluded) }),
  })
  return new Extension(id_ce_nameConstraints, true, AsnConvert.serialize(constraints))
}

/** Undefined where some kind of host is left open: DNS, IPv4 or IPv6, by absence or by a range of everything. */
export function permittedBy(certificate: X509Certificate): Permitted | undefined {
  const extension = certificate.getExtension(id_ce_nameConstraints)
  if (!extension?.critical) return undefined
  const { permittedSubtrees, excludedSubtrees } = AsnConvert.parse(extension.value, NameConstraints)
  const permitted = hosts(permittedSubtrees)
  const excluded = hosts(excludedSubtrees)
  const closed =
    (permitted.dns.length > 0 || excluded.dns.includes('')) &&
    (permitted.ip.some(isIpv4) || excluded.ip.includes('0.0.0.0/0')) &&
    (permitted.ip.some(isIpv6) || excluded.ip.includes('::/0'))
  const everything = permitted.dns.includes('') || permitted.ip.some((range) => range.endsWith('/0'))
  return closed && !everything ? permitted : undefined
}

export function isPermitted({ type, value }: SubjectName, { dns, ip }: Permitted): boolean {
  if (type === 'dns') return dns.some((base) => value === base || value.endsWith(`.${base}`))
  const address = ipaddr.parse(value)
  return ip.some((range) => {
    const [network, bits] = ipaddr.parseCIDR(range)
    return network.kind() === address.kind() && address.match(network, bits)
  })
}

function subtrees(bases: readonly GeneralName[]): GeneralSubtrees {
  return new GeneralSubtrees(bases.map((base) => new GeneralSubtree({ base })))
}

function hosts(trees: GeneralSubtrees | undefined): Permitted {
  const bases = [...(trees ?? [])].map(({ base }) => base)
  return {
    dns: bases.flatMap(({ dNSName }) => dNSName ?? []),
    ip: bases.flatMap(({ iPAddress }) => iPAddress ?? []),
  }
}

/** 10.77.0.5/24 is 10.77.0.0/24 to us, but bits beyond the mask are an error to some verifiers. */
function networkOf(range: string): string {
  const [address, bits] = ipaddr.parseCIDR(range)
  const family = address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6
  return `${family.networkAddressFromCIDR(range).toString()}/${bits}`
}

const isIpv4 = (range: string): boolean => !isIpv6(range)
const isIpv6 = (range: string): boolean => range.includes(':')
