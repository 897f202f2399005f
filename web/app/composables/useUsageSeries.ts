import type { UsageRow } from '@sotto/gateway/protocol/admin.ts'
import { seriesBy, type Dimension, type Measure } from '~/records/usage'

/** More are hard to tell apart by colour; the rest is one. */
const apart = 6

/** A line of the chart, with a CSS variable as its colour. */
export interface UsageSeries {
  readonly name: string
  readonly color: string
  readonly values: readonly number[]
}

interface Wish {
  readonly by: MaybeRef<Dimension>
  readonly measure: Ref<Measure>
  readonly days: Ref<readonly string[]>
}

/** Usage by day as one reads it: named, coloured, and with a caption. */
export function useUsageSeries(rows: Ref<readonly UsageRow[]>, { by, measure, days }: Wish) {
  const { t } = useI18n()
  const nameOf = (dimension: Dimension, name: string): string =>
    name === '' ? t(`records.none.${dimension}`) : name
  const series = computed(() =>
    seriesBy(rows.value, { by: unref(by), measure: measure.value, days: days.value, apart }).map(
      ({ name, values }, at): UsageSeries => ({
        name: name === undefined ? t('records.usage.others') : nameOf(unref(by), name),
        color: name === undefined ? '--chart-others' : `--chart-${at + 1}`,
        values,
      }),
    ),
  )
  const caption = computed(() =>
    t('records.usage.caption', {
      measure: t(`records.measures.${measure.value}`),
      by: t(`records.each.${unref(by)}`),
    }),
  )
  return { series, caption, nameOf }
}
