/** `serveApi` in a process of its own, so that it can be killed. Arguments: its options as JSON. Says its URL. */
import { serveApi } from './serve.fixture.ts'

const [, , options = '{}'] = process.argv
const { url } = await serveApi(JSON.parse(options))
process.stdout.write(`${url}\n`)
