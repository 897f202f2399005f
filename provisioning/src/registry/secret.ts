/**
 * What an API key is made of: `sk-sotto-` + 10 characters that find it + `-` + 43 that prove it (256 bits) +
 * 6 of a checksum, so that a slip of the hand is told from a guess without a costly hash. Argon2id at rest,
 * with OWASP's first choice of parameters (Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane).
 */
import { createHash, randomBytes } from 'node:crypto'
import { Problem } from '../problem.ts'

export interface Secret {
  /** Finds the key; may be shown. */
  readonly prefix: string
  /** The whole text, as a program sends it. */
  readonly text: string
}

const argon2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const
const pattern = /^(sk-sotto-[a-z2-7]{10})-[\w-]{43}[\w-]{6}$/

export function makeSecret(): Secret {
  const prefix = `sk-sotto-${base32(randomBytes(10))}`
  const body = `${prefix}-${randomBytes(32).toString('base64url')}`
  return { prefix, text: body + checksum(body) }
}

/** The prefix of a text that is made like a key of ours; undefined for any other text. */
export function readPrefix(text: string): string | undefined {
  const prefix = pattern.exec(text)?.[1]
  return prefix !== undefined && checksum(text.slice(0, -6)) === text.slice(-6) ? prefix : undefined
}

/** Whether a text claims to be one of our keys, well made or not. */
export function isOurs(text: string): boolean {
  return text.startsWith('sk-sotto-')
}

export async function hashSecret(text: string): Promise<string> {
  const { hash } = await import('@node-rs/argon2')
  return hash(text, argon2)
}

/** Some 13 ms of a core, off the event loop. */
export async function verifySecret(hashed: string, text: string): Promise<boolean> {
  const { verify } = await import('@node-rs/argon2')
  return verify(hashed, text)
}

const shortestPassword = 10

/** Throws a `Problem` for a password that is guessed too soon. */
export function checkPassword(password: string): void {
  if (password.length < shortestPassword)
    throw new Problem(
      'password_short',
      `The password has fewer than ${shortestPassword} characters.`,
      'Take three or four words.',
    )
}

/** 256 random bits, base64url: for a cookie or a link. */
export function makeToken(): string {
  return randomBytes(32).toString('base64url')
}

/** Fast is right here: 256 random bits can't be guessed, however fast a guess is. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('base64')
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('base64url').slice(0, 6)
}

function base32(bytes: Buffer): string {
  return Array.from(bytes, (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte % 32]).join('')
}
