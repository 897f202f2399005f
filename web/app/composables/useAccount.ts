import type {
  Account,
  AccountHere,
  AccountLinkUse,
  PasskeyAnswer,
  Proof,
  SignIn,
} from '@sotto/gateway/protocol/account.ts'
import type {
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
} from '@simplewebauthn/browser'
import { LazyAccountProof } from '#components'
import { ask, Refused } from '~/gateway/ask'

interface NewPasskeyQuestion {
  readonly id: string
  readonly options: PublicKeyCredentialCreationOptionsJSON
}
interface KnownPasskeyQuestion {
  readonly id: string
  readonly options: PublicKeyCredentialRequestOptionsJSON
}

/** The proof that is being asked for: one dialog, whatever many changes wait for it. */
let asked: Promise<boolean> | undefined

/** Who is signed in here, how one comes in, and what is changed of one's account. */
export function useAccount() {
  const { tell } = useTelling()
  const { t, locale } = useI18n()
  const overlay = useOverlay()
  const here = useState<AccountHere>('account-here')
  const account = useState<Account | undefined>('account')
  const problem = useState<Refused | undefined>('account-problem')

  const pathOf = (path: string): string => `/sotto/account${path}`
  const language = computed(() => (locale.value === 'de' ? 'de' : 'en'))

  /** Throws `Refused`. */
  function read<T>(path: string): Promise<T> {
    return ask<T>('GET', pathOf(path)).catch(signedOut)
  }

  /** Asks how it is now. */
  async function look(): Promise<void> {
    try {
      here.value = await ask<AccountHere>('GET', pathOf(''))
      account.value = here.value.person === null ? undefined : await read<Account>('/me')
      problem.value = undefined
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      problem.value = error.code === 'signed_out' ? undefined : error
    }
  }

  /** A session that ended leads back to where one signs in. */
  function signedOut(error: unknown): never {
    if (error instanceof Refused && error.code === 'signed_out') account.value = undefined
    throw error
  }

  /**
   * Changes something; where the gateway wants to see first who one is, asks for it and goes on. Throws `Refused`,
   * with the code `proof_required` where the person thinks better of it.
   */
  async function change<T = void>(
    method: 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<T> {
    const send = (): Promise<T> => ask<T>(method, pathOf(path), body).catch(signedOut)
    try {
      return await send()
    } catch (error) {
      if (!needsProof(error) || !(await confirm())) throw error
      return send()
    }
  }

  /** Does a task and tells why it was refused. Resolves to whether it was done. */
  async function attempt(task: () => Promise<unknown>): Promise<boolean> {
    try {
      await task()
      return true
    } catch (error) {
      if (!needsProof(error) && !isGivenUp(error)) tell(error)
      return false
    }
  }

  function confirm(): Promise<boolean> {
    asked ??= overlay
      .create(LazyAccountProof, { destroyOnClose: true })
      .open()
      .result.then((proven) => proven === true)
      .finally(() => (asked = undefined))
    return asked
  }

  /** Throws `Refused`. */
  async function signIn(by: SignIn): Promise<void> {
    await ask('POST', pathOf('/session'), by)
    await look()
  }

  async function signOut(): Promise<void> {
    await ask('DELETE', pathOf('/session')).catch(signedOut)
    account.value = undefined
    await look()
  }

  async function prove(by: Proof): Promise<void> {
    await ask('POST', pathOf('/proof'), by)
  }

  /** Asks the browser for a passkey that is known here. Throws where its person thinks better of it. */
  async function pickPasskey(): Promise<PasskeyAnswer> {
    const { id, options } = await ask<KnownPasskeyQuestion>('POST', pathOf('/passkey-options'))
    const { startAuthentication } = await import('@simplewebauthn/browser')
    return { id, response: await startAuthentication({ optionsJSON: options }) }
  }

  /** Has the browser make a passkey. */
  async function makePasskey({
    id,
    options,
  }: NewPasskeyQuestion): Promise<NonNullable<AccountLinkUse['passkey']>> {
    const { startRegistration } = await import('@simplewebauthn/browser')
    return { id, response: await startRegistration({ optionsJSON: options }), name: browserName(t) }
  }

  async function addPasskey(): Promise<boolean> {
    return attempt(async () => {
      const made = await makePasskey(await change<NewPasskeyQuestion>('POST', '/passkeys/options', {}))
      await change('POST', '/passkeys', made)
      await look()
    })
  }

  /** Uses a one-time link: with a password, with a passkey that is made for it, or with nothing more. */
  async function takeLink(
    token: string,
    {
      name,
      by,
    }: { readonly name?: string; readonly by: { readonly password: string } | 'passkey' | 'nothing' },
  ): Promise<void> {
    const named = { token, ...(name !== undefined && { name }) }
    const ways = async (): Promise<Pick<AccountLinkUse, 'password' | 'passkey'>> => {
      if (by === 'nothing') return {}
      if (by !== 'passkey') return by
      const question = await ask<NewPasskeyQuestion>('POST', pathOf('/link/passkey-options'), named)
      return { passkey: await makePasskey(question) }
    }
    await ask('POST', pathOf('/link/use'), { ...named, ...(await ways()) } satisfies AccountLinkUse)
    await look()
  }

  return {
    here,
    account,
    problem,
    language,
    look,
    read,
    change,
    attempt,
    signIn,
    signOut,
    prove,
    pickPasskey,
    addPasskey,
    takeLink,
  }
}

function needsProof(error: unknown): boolean {
  return error instanceof Refused && error.code === 'proof_required'
}

/** Whether somebody closed the browser's own dialog: there is nothing to tell them. */
export function isGivenUp(error: unknown): boolean {
  return error instanceof Error && (error.name === 'NotAllowedError' || error.name === 'AbortError')
}

/** By which a passkey or a session is told from others: “Firefox, Linux”. */
export function describeBrowser(agent: string): string {
  const browser = ['Firefox', 'Edg', 'OPR', 'Chrome', 'Safari'].find((name) => agent.includes(`${name}/`))
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS X', 'Linux'].find((name) =>
    agent.includes(name),
  )
  const spoken = { Edg: 'Edge', OPR: 'Opera' }
  const named = browser === 'Edg' || browser === 'OPR' ? spoken[browser] : browser
  return [named, system === 'Mac OS X' ? 'macOS' : system].filter(Boolean).join(', ')
}

function browserName(t: (key: string) => string): string {
  return describeBrowser(navigator.userAgent) || t('account.security.unnamed')
}
