"""Pipecat as its own examples put it together, with the bench's engines, for one client that sends bare samples.

Arguments: the addresses of Whisper, the model and the speech. Prints its port once it listens. With `pauses` and a
file of samples instead, it prints by which chunk of 20 ms its own voice activity hears each turn end.
"""

import asyncio
import json
import socket
import sys

from loguru import logger

logger.remove()

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams, VADState

RATE = 16_000
CHUNK_BYTES = RATE // 50 * 2


def analyzer():
    # As ours: any voice, however soft.
    params = VADParams(confidence=0.5, start_secs=0.2, stop_secs=0.2, min_volume=0.0)
    return SileroVADAnalyzer(sample_rate=RATE, params=params)


async def pauses(file):
    listener = analyzer()
    listener.set_sample_rate(RATE)
    with open(file, "rb") as samples:
        sound = samples.read()
    found, before = [], VADState.QUIET
    for chunk in range(len(sound) // CHUNK_BYTES):
        state = await listener.analyze_audio(sound[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES])
        if state == VADState.QUIET and before == VADState.STOPPING:
            found.append(chunk)
        before = state
    print(json.dumps(found), flush=True)


async def serve(whisper, model, speech):
    from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import (
        LLMContextAggregatorPair,
        LLMUserAggregatorParams,
    )
    from pipecat.serializers.base_serializer import FrameSerializer
    from pipecat.services.openai.llm import OpenAILLMService
    from pipecat.services.openai.stt import OpenAISTTService
    from pipecat.services.openai.tts import OpenAITTSService
    from pipecat.transports.websocket.server import (
        SingleClientWebsocketServerParams,
        SingleClientWebsocketServerTransport,
    )
    from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
    from pipecat.turns.user_turn_strategies import UserTurnStrategies
    from pipecat.workers.runner import WorkerRunner

    class Samples(FrameSerializer):
        async def serialize(self, frame):
            return frame.audio if isinstance(frame, OutputAudioRawFrame) else None

        async def deserialize(self, data):
            return InputAudioRawFrame(audio=data, sample_rate=RATE, num_channels=1)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    transport = SingleClientWebsocketServerTransport(
        host="127.0.0.1",
        port=port,
        params=SingleClientWebsocketServerParams(
            audio_in_enabled=True, audio_out_enabled=True, serializer=Samples()
        ),
    )
    # The turn ends with the silence that the voice activity waits for, as ours does in the same scenario.
    strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0)])
    context = LLMContextAggregatorPair(
        LLMContext([{"role": "system", "content": "Answer."}]),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=analyzer(), user_turn_strategies=strategies
        ),
    )
    pipeline = Pipeline(
        [
            transport.input(),
            OpenAISTTService(api_key="x", base_url=f"{whisper}/v1"),
            context.user(),
            OpenAILLMService(api_key="x", base_url=f"{model}/v1"),
            OpenAITTSService(api_key="x", base_url=f"{speech}/v1"),
            transport.output(),
            context.assistant(),
        ]
    )
    worker = PipelineWorker(
        pipeline, params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=24_000)
    )

    @transport.event_handler("on_websocket_ready")
    async def ready(_):
        print(port, flush=True)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


asyncio.run(pauses(sys.argv[2]) if sys.argv[1] == "pauses" else serve(*sys.argv[1:]))
