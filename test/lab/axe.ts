/** What a page does to people who can't see it as it was drawn. */
import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from 'playwright-core'

/** What axe finds on the page as it is now: each rule with the elements that break it. */
export async function violations(page: Page): Promise<readonly string[]> {
  // What still fades in has no colour yet.
  await page.evaluate(`Promise.all(
    document.getAnimations()
      .filter((one) => one.effect.getComputedTiming().endTime !== Infinity)
      .map((one) => one.finished.catch(() => {})),
  )`)
  const found = await new AxeBuilder({ page }).analyze()
  return found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`))
}
