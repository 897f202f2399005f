/**
 * One person talking. What comes from the client, from the microphone and from the engines becomes events of the
 * machine; what the machine decides is carried out here, by the pieces beside this file.
 */
import type { Logger } from 'pino'
import type { RawData, WebSocket } from 'ws'
import type { Admission } from '#admission/admission.ts'
import type { Engines } from '#engines/engine.ts'
import type { Speech } from '#engines/speech.ts'
import { queuesAs, type Member } from '#identity/caller.ts'
import type { Recorder } from '#ledger/record.ts'
import {
  clientEvent,
  type ClientEvent,
  type Item,
  type NewItem,
  type ResponseWish,
  type ServerEventBody,
  type Session as SessionView,
} from '#protocol/events.ts'
import { decodeFrame, inputSampleRate } from '#protocol/frame.ts'
import type { Thread } from '../conversations/live.ts'
import { asFailure } from '../failure.ts'
import { createAccount } from './account.ts'
import { empty, startAnswer, type Answer, type Source } from './answer.ts'
import { createDecoder, createEncoder, type Decoder, type Encoder } from './codec.ts'
import { createConversation, itemBefore, messagesOf, textOf, type Conversation } from './conversation.ts'
import { createDraft, type Draft } from './draft.ts'
import { isEcho } from './echo.ts'
import { soundsWhole } from './end-of-turn.ts'
import { newId } from './id.ts'
import { createLink, type Dialect, type Stream } from './link.ts'
import { initial, step, type Effect, type Event, type State } from './machine.ts'
import { createMicrophone } from './microphone.ts'
import {
  changed,
  firstSettings,
  forResponse,
  silenceAfterWhole,
  turnSettings,
  type Settings,
} from './settings.ts'
import { createTimings } from './timings.ts'
import { createTranscript, type Transcript } from './transcript.ts'
import type { TurnEvent } from './turns.ts'
import type { VoiceActivity } from './voice-activity.ts'
