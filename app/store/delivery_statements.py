"""The statements of the outbox: how deliveries are taken, and what is noted of them."""

from __future__ import annotations

from app.store.suppressions import OF_DELIVERY
from app.store.waiting import STATE_OF_NOTIFICATION

# What is taken is due again after the lease, for the case that its node dies. The array makes Postgres find
# the rows by their key, whatever it thinks of the size of the tables.
_TAKEN = """
update deliveries d
set status = 'sending', attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $3),
  digest_key = null
where d.id = any(array(select id from due))
returning d.id, d.channel, d.template, d.address, d.locale, d.data::text as data, d.secret, d.attempts,
  d.attachments::text as attachments, d.replaces is not null as code,
  extract(epoch from now() - d.asked_at)::float8 as age,
  extract(epoch from d.expires_at - now())::float8 as expires_in, d.category, d.user_id, d.event_id
"""
# A digest that is claimed takes no more messages: that is what it loses its key for.
# `skip locked`: several nodes take at once and none waits.
CLAIM = f"""
with due as (
  select id from deliveries
  where next_attempt_at <= now() and replaces is null and channel = $1 and id <> all($4::uuid[])
  order by next_attempt_at
  limit $2
  for update skip locked
)
{_TAKEN}, {OF_DELIVERY} as suppressed, d.only_if, coalesce(d.digest_id = d.id, false) as digest,
  case when d.only_if is not null then {STATE_OF_NOTIFICATION} end as notification
"""  # noqa: S608
# Of the codes to one address only one is under way at any time, so that the cooldown and the cap hold: each
# counts those before it. Nodes take codes one after the other.
ONE_AT_A_TIME = "select pg_advisory_xact_lock(hashtext('notification hub: codes'))"
_BUSY = """
exists (
  select 1 from deliveries busy
  where busy.limit_key = d.limit_key and busy.status = 'sending' and busy.next_attempt_at > now()
)
"""
CLAIM_CODES = f"""
with due as (
  select id from deliveries d
  where next_attempt_at <= now() and replaces is not null and channel = $1 and id <> all($4::uuid[])
    and not {_BUSY} and not exists (
      select 1 from deliveries earlier
      where earlier.limit_key = d.limit_key and earlier.next_attempt_at <= now()
        and (earlier.event_at, earlier.number) < (d.event_at, d.number)
    )
  order by next_attempt_at
  limit $2
  for update skip locked
), taken as ({_TAKEN}, d.limit_key)
select taken.*, (
    select count(*) from deliveries other where other.limit_key = taken.limit_key
      and other.status in ('sent', 'delivered') and other.finished_at > now() - interval '1 hour'
  ) as last_hour, (
    select extract(epoch from now() - max(other.finished_at))::float8 from deliveries other
    where other.limit_key = taken.limit_key and other.status in ('sent', 'delivered')
      and other.finished_at > now() - interval '1 hour'
  ) as seconds_since_last
from taken
"""  # noqa: S608
UNWANTED = """
select case
  when exists (
    select 1 from deliveries newer
    where newer.replaces = d.replaces and (newer.event_at, newer.number) > (d.event_at, d.number)
  ) then 'suppressed'
  when d.expires_at <= now() then 'expired'
end
from deliveries d where d.id = $1
"""
_NEXT_DUE = "select extract(epoch from min(next_attempt_at) - now())::float8 from deliveries d"
NEXT_OTHER = f"{_NEXT_DUE} where next_attempt_at is not null and replaces is null and channel = $1"
NEXT_CODE = f"""
{_NEXT_DUE}
where next_attempt_at is not null and replaces is not null and channel = $1 and not {_BUSY}
"""
# Only by who has it still: after the lease another node may have taken it, and be as far. The array makes
# Postgres find the rows by their key; of one id there is one result.
FINISH = """
update deliveries d set status = new.status, reason = coalesce(new.reason, d.reason),
  error_code = new.error_code, error = new.error, provider_id = coalesce(new.provider_id, d.provider_id),
  segments = coalesce(new.segments, d.segments), next_attempt_at = null, secret = null, finished_at = now()
from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[])
  as new (id, number, status, reason, error_code, error, provider_id, segments)
where d.id = new.id and d.id = any($1) and d.attempts = new.number and d.finished_at is null
returning d.id, d.digest_id = d.id as is_digest
"""
# Not later than it expires: then its secret is erased.
AGAIN = """
update deliveries set status = 'pending', reason = coalesce($2, reason), error_code = $3, error = $4,
  attempts = attempts - $6,
  next_attempt_at = least(now() + make_interval(secs => $5), expires_at)
where id = $1 and attempts = $7 and finished_at is null
"""
RELEASE = """
update deliveries d set status = 'pending', attempts = d.attempts - 1, next_attempt_at = now()
from unnest($1::uuid[], $2::int[]) as held (id, attempts)
where d.id = held.id and d.attempts = held.attempts and d.status = 'sending'
"""
# Of a delivery that was erased meanwhile nothing is noted.
NOTE = """
insert into delivery_attempts
  (delivery_id, number, started_at, seconds, outcome, error_code, error, provider_id)
select d.id, new.number, new.started_at, new.seconds, new.outcome, new.error_code, new.error, new.provider_id
from unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::float8[], $5::text[], $6::text[], $7::text[],
            $8::text[])
  as new (id, number, started_at, seconds, outcome, error_code, error, provider_id)
join deliveries d on d.id = new.id
where d.id = any($1) for key share of d
on conflict (delivery_id, number) do nothing
"""
