import { describe, expect, test } from 'vitest'
import { labMissing } from '../lab/lab.ts'
import { MIGRATIONS, migrate } from './migrations.ts'

const missing = labMissing(['turnserver', 'openssl', 'ss', 'conntrack'])

describe.skipIf(missing)(
  `a session loses nothing on its way through NAT${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    test.each(Object.entries(MIGRATIONS))(
      'when %s',
      async (_, migration) => {
        const gaps = await migrate(migration)
        // How long they are is in docs/nat.md; here, that unreliable messages go on at all after each change.
        expect(gaps.map(({ name }) => name)).toEqual(migration.steps.map(({ name }) => name))
      },
      180_000,
    )
  },
)
