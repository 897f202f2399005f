/** Colours code. Each language is loaded when it is first seen; until then, and where there is none, code is plain. */
import hljs from 'highlight.js/lib/core'
import type { LanguageFn } from 'highlight.js'
import { ref } from 'vue'
import type { Highlight } from './markdown'

const languages: Readonly<Record<string, () => Promise<{ readonly default: LanguageFn }>>> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  dart: () => import('highlight.js/lib/languages/dart'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  elixir: () => import('highlight.js/lib/languages/elixir'),
  go: () => import('highlight.js/lib/languages/go'),
  graphql: () => import('highlight.js/lib/languages/graphql'),
  haskell: () => import('highlight.js/lib/languages/haskell'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  latex: () => import('highlight.js/lib/languages/latex'),
  less: () => import('highlight.js/lib/languages/less'),
  lua: () => import('highlight.js/lib/languages/lua'),
  makefile: () => import('highlight.js/lib/languages/makefile'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  nginx: () => import('highlight.js/lib/languages/nginx'),
  nix: () => import('highlight.js/lib/languages/nix'),
  objectivec: () => import('highlight.js/lib/languages/objectivec'),
  perl: () => import('highlight.js/lib/languages/perl'),
  php: () => import('highlight.js/lib/languages/php'),
  powershell: () => import('highlight.js/lib/languages/powershell'),
  protobuf: () => import('highlight.js/lib/languages/protobuf'),
  python: () => import('highlight.js/lib/languages/python'),
  r: () => import('highlight.js/lib/languages/r'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  scala: () => import('highlight.js/lib/languages/scala'),
  scss: () => import('highlight.js/lib/languages/scss'),
  shell: () => import('highlight.js/lib/languages/shell'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
}

/** Other names that models give them. */
const aliases: Readonly<Record<string, string>> = {
  'c#': 'csharp',
  'c++': 'cpp',
  cc: 'cpp',
  conf: 'ini',
  console: 'shell',
  cs: 'csharp',
  docker: 'dockerfile',
  golang: 'go',
  h: 'c',
  hpp: 'cpp',
  hs: 'haskell',
  html: 'xml',
  js: 'javascript',
  json5: 'json',
  jsonc: 'json',
  jsx: 'javascript',
  kt: 'kotlin',
  make: 'makefile',
  md: 'markdown',
  mjs: 'javascript',
  objc: 'objectivec',
  patch: 'diff',
  pl: 'perl',
  proto: 'protobuf',
  ps1: 'powershell',
  py: 'python',
  python3: 'python',
  rb: 'ruby',
  rs: 'rust',
  sh: 'bash',
  svelte: 'xml',
  svg: 'xml',
  tex: 'latex',
  toml: 'ini',
  ts: 'typescript',
  tsx: 'typescript',
  vue: 'xml',
  yml: 'yaml',
  zsh: 'bash',
}

/** Colouring more takes longer than a frame. */
const longest = 20_000
/** Of code that grows, each new colouring may take a tenth of the time at most. */
const share = 10
const mostKept = 100

/** Counts up with each language that is loaded: what was plain can be coloured then. */
export const loadedLanguages = ref(0)

const loading = new Set<string>()
const kept = new Map<string, string>()
/** The one block that grows, as far as it was coloured last. */
let growing = { language: '', code: '', html: '', until: 0 }

export const highlight: Highlight = (code, name, finished) => {
  const language = known(name)
  if (language === undefined || code.length > longest) return undefined
  if (!hljs.getLanguage(language)) {
    load(language)
    return undefined
  }
  return finished ? colourOnce(code, language) : colourAhead(code, language)
}

function known(name: string): string | undefined {
  const lower = name.toLowerCase()
  const language = aliases[lower] ?? lower
  return Object.hasOwn(languages, language) ? language : undefined
}

function load(language: string): void {
  if (loading.has(language)) return
  loading.add(language)
  languages[language]?.()
    .then(({ default: definition }) => {
      hljs.registerLanguage(language, definition)
      loadedLanguages.value += 1
    })
    // It is tried again when it is seen again.
    .catch(() => loading.delete(language))
}

function colourOnce(code: string, language: string): string {
  const key = `${language} ${code}`
  const html = kept.get(key) ?? colour(code, language)
  kept.delete(key)
  kept.set(key, html)
  const [oldest] = kept.keys()
  if (kept.size > mostKept && oldest !== undefined) kept.delete(oldest)
  return html
}

/** Its whole lines, coloured not too often, and the rest plain. */
function colourAhead(code: string, language: string): string {
  const lines = code.slice(0, code.lastIndexOf('\n') + 1)
  const same = growing.language === language && lines.startsWith(growing.code)
  if (!same || (lines !== growing.code && performance.now() > growing.until)) {
    const start = performance.now()
    const html = colour(lines, language)
    const end = performance.now()
    growing = { language, code: lines, html, until: end + (end - start) * share }
  }
  return growing.html + escape(code.slice(growing.code.length))
}

function colour(code: string, language: string): string {
  return hljs.highlight(code, { language, ignoreIllegals: true }).value
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
