/** A mail server that keeps what it is given, each letter as a file, as it came: `smtp.ts DIRECTORY --port N`. */
import { createWriteStream, rename } from 'node:fs'
import { join } from 'node:path'
import { SMTPServer } from 'smtp-server'
import { announcePort } from './announce.ts'

let last = 0

const server = new SMTPServer({
  authOptional: true,
  // On loopback; that it is asked for elsewhere, the mailer's own tests show.
  disabledCommands: ['AUTH', 'STARTTLS'],
  onData(stream, _session, callback) {
    last += 1
    const file = join(directory, `${last}.eml`)
    // Whole, or not there.
    stream
      .pipe(createWriteStream(`${file}.part`))
      .once('finish', () => rename(`${file}.part`, file, callback))
  },
})
const [directory = '.'] = announcePort(server.server)
