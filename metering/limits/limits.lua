-- limits.lua - one batch of reservations and settlements, whole or not at all.
--
-- KEYS[1] is the prefix of all keys, "{name space}:".  ARGV[1] is the batch, one
-- flat MessagePack array as limit_wire.c writes it.  Everything is read and worked
-- out first and written at the end, each counter and each reservation once.
--
--   c:<key>  hash    counter: s spent, r reserved; o<owner> an owner's part of s, x<owner>
--                    what an operator took off that part, x that there is such; rolling
--                    also h, the newest bucket, s<i>, r<i> of each bucket, e the epoch in
--                    which it was set last, o<epoch>.<owner> what an owner put in then,
--                    w<owner> that it has put in something; of a limit that came with a reload:
--                    a<owner> before which time settlements are in the owner's part,
--                    b<owner> what of the part is not to count: see from
--   a:<owner> hash   the same time by what the limit's counters begin with, for those that
--                    are not there yet
--   r        hash    id -> reservation
--   d        zset    id by the time at which the reservation ends
--   i        zset    counters' keys by the time at which they are gone
--   n        zset    live processes by the time at which they were last heard of
--   k:<work> hash    n: how much of a work was counted; by: the process that did last; r: who
--                    counted what, a start and a process for each stretch
--   q:<who>  string  number of the last batch that was applied
--   u:<owner>  string  whether the owner's part is in order: see mark_read
--   o        set     owners whose parts are in order, since the last time that all were not
--   w        string  how many owners are waited for; nothing is admitted meanwhile
--   e        string  epoch: how often a rebuild of everything was asked for
--
-- An owner is a ledger: what it spent is known to it alone, so it alone sets its part.
-- Lua's numbers are exact to 2^53 only: an amount is two of them, billions and rest.

local call, floor, format, sub = redis.call, math.floor, string.format, string.sub
local P = KEYS[1]
local m = cmsgpack.unpack(ARGV[1])
local BILLION, CAP = 1000000000, 9223372035
local WINDOW, ROLLING = 0, 1
local RESERVE, FORCE, SETTLE, EXTEND, LEASE, ADOPT, SET, CLAIM = 1, 2, 3, 4, 5, 6, 7, 8
local FROM, ADD = 9, 10
local CONCURRENT = 5

local instance, node, seq, base, heartbeat, await = m[2], m[3], m[4], m[5], m[6], m[7]
local now, deadline, keep, sweep_max, node_live = m[8], m[9], m[10], m[11], m[12]
local lease_deadline, lease_share = m[13], m[14]
local owner, start = m[15], m[16]
local counted_keep, doubt, rebuild_ms = m[17], m[18], m[19]
local n_keys, n_ops = m[20], m[21]
local keys_at = 21
local ids_at = keys_at + 4 * n_keys
local ops_at = ids_at + n_ops

--[[
The mark of an owner: which of its starts set its part, whether that is done, and before which
time settlements are in calendar counters and in rolling ones; -1: not yet set.  An earlier
start's batches find another start than theirs: they were overtaken, and change nothing.
]]
local marks = call('MGET', P .. 'u:' .. owner, P .. 'q:' .. instance, P .. 'w')
local begun, done, as_of, rolling_as_of = 0, 0, 0, 0
if marks[1] then
    begun, done, as_of, rolling_as_of = string.match(marks[1], '^(%d+):(%d):(%-?%d+):(%-?%d+)$')
    begun, done, as_of = tonumber(begun), tonumber(done), tonumber(as_of)
    rolling_as_of = tonumber(rolling_as_of)
end
if await > 0 and (done == 0 or begun ~= start or marks[3]) then
    return {3}
end

-- Is it this batch's turn?  A batch comes again when its reply was lost.
local expected = tonumber(marks[2] or '0') + 1
if base > expected then
    -- What was acknowledged is not here: a replica took over that had not heard of it yet.
    -- Every owner may miss something, and nothing is admitted before each has set its part anew;
    -- await 2: the sender knows already.
    if await == 1 then
        local live = call('ZCARD', P .. 'n')
        call('SADD', P .. 'o', owner)
        for _, who in ipairs(call('SMEMBERS', P .. 'o')) do
            local mark = call('GET', P .. 'u:' .. who)
            if mark then
                call('SET', P .. 'u:' .. who, (string.gsub(mark, ':1:', ':0:', 1)))
            end
        end
        call('DEL', P .. 'o')
        if live > 1 then
            call('SET', P .. 'w', live, 'PX', rebuild_ms)
        end
        return {3}
    end
    expected = base
end
if seq > expected then
    return {2}
end
local again = seq < expected

if now == 0 then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- ---- amounts: billions and rest ------------------------------------------------

local function parse(text)
    if not text then
        return 0, 0
    end
    local n = #text
    if n <= 9 then
        return 0, tonumber(text)
    end
    return tonumber(sub(text, 1, n - 9)), tonumber(sub(text, n - 8))
end

local function show(high, low)
    if high == 0 then
        return format('%.0f', low)
    end
    return format('%.0f%09.0f', high, low)
end

local function plus(h, l, h2, l2)
    h, l = h + h2, l + l2
    if l >= BILLION then
        h, l = h + 1, l - BILLION
    end
    if h > CAP then
        return CAP, BILLION - 1
    end
    return h, l
end

local function minus(h, l, h2, l2)
    h, l = h - h2, l - l2
    if l < 0 then
        h, l = h - 1, l + BILLION
    end
    if h < 0 then
        return 0, 0
    end
    return h, l
end

local function fits(sh, sl, rh, rl, ah, al, lh, ll)
    if ah == 0 and al == 0 then
        return true
    end
    local l = sl + rl + al
    local carry = floor(l / BILLION)
    local h = sh + rh + ah + carry
    l = l - carry * BILLION
    return h < lh or (h == lh and l <= ll)
end

-- ---- counters: [1], [2] spent, [3], [4] reserved; o: owners' parts of spent -------------

local cache, loaded = {}, {}

-- Of a counter that is made: since when its limit's settlements are not known otherwise.
local sinces = {}
local function since_of(c)
    local limit = string.match(c.key, '^[^:]*:[^:]*:[^:]*:')
    sinces[limit] = sinces[limit] or tonumber(call('HGET', P .. 'a:' .. owner, limit) or '0')
    c.is_stamped = sinces[limit] > 0
    return sinces[limit]
end

local function load_rolling(c)
    local name, x, k = c.name, c.x, c.k
    local head = floor(now / x)
    local v = call('HMGET', name, 'h', 's', 'r', 's' .. head, 'r' .. head, 'w' .. owner,
                   'a' .. owner)
    local old = tonumber(v[1] or head)


    c.fresh = not v[1]
    c.w, c.since = {[owner] = v[6] and 'stands' or nil}, tonumber(v[7] or c.fresh and since_of(c) or '0')
    c[1], c[2] = parse(v[2])
    c[3], c[4] = parse(v[3])
    c.b = {}
    if old > head then -- the clock was set back: buckets never are
        head = old
    elseif old == head then
        local b = {}
        b[1], b[2] = parse(v[4])
        b[3], b[4] = parse(v[5])
        c.b[head] = b
    elseif head - old > k then
        c[1], c[2], c[3], c[4] = 0, 0, 0, 0
        c.gone, c.moved, c.dirty = true, true, true
        c.w, c.since = {}, since_of(c)
    else
        local left, n = {}, 0
        for i = old - k, head - k - 1 do
            left[n + 1], left[n + 2] = 's' .. i, 'r' .. i
            n = n + 2
        end
        local w = call('HMGET', name, unpack(left))
        for j = 1, n, 2 do
            c[1], c[2] = minus(c[1], c[2], parse(w[j]))
            c[3], c[4] = minus(c[3], c[4], parse(w[j + 1]))
        end
        c.left, c.moved, c.dirty = left, true, true
        c.b[head] = {0, 0, 0, 0}
    end
    c.head = head
end

local function counter(key, kind, x, k)
    local c = cache[key]
    if c then
        return c
    end
    c = {key = key, name = P .. 'c:' .. key, kind = kind, x = x, k = k}
    if kind == ROLLING then
        load_rolling(c)
    else
        local v = call('HMGET', c.name, 's', 'r', 'x', 'o' .. owner, 'a' .. owner)
        c.fresh = not v[1]
        c[1], c[2] = parse(v[1])
        c[3], c[4] = parse(v[2])
        c.is_eased = v[3]
        c.o = {[owner] = {parse(v[4])}}
        c.since = tonumber(v[5] or c.fresh and kind == WINDOW and since_of(c) or '0')
    end
    cache[key] = c
    loaded[#loaded + 1] = c
    return c
end

local function counter_at(i)
    local at = keys_at + 4 * i
    return counter(m[at + 1], m[at + 2], m[at + 3], m[at + 4])
end

-- Buckets from..to are in memory.
local function load_buckets(c, from, to)
    local fields, numbers = {}, {}
    for i = from, to do
        if not c.b[i] then
            fields[#fields + 1] = 's' .. i
            fields[#fields + 1] = 'r' .. i
            numbers[#numbers + 1] = i
        end
    end
    if #numbers == 0 then
        return
    end
    local v = c.gone and {} or call('HMGET', c.name, unpack(fields))
    for j, i in ipairs(numbers) do
        local b = {}
        b[1], b[2] = parse(v[2 * j - 1])
        b[3], b[4] = parse(v[2 * j])
        c.b[i] = b
    end
end

local function part_of(c, who)
    local o = c.o[who]
    if not o then
        o = {parse(call('HGET', c.name, 'o' .. who))}
        c.o[who] = o
    end
    return o
end

-- What is spent is the sum of the owners' parts, always.
local function set_part(c, who, h, l)
    local o = part_of(c, who)
    local sh, sl = minus(c[1], c[2], o[1], o[2])
    c[1], c[2] = plus(sh, sl, h, l)
    o[1], o[2], o.dirty = h, l, true
    c.dirty = true
end

-- which: 1 spent, 3 reserved.  A rolling counter changes in the bucket of `time`.
local function change(c, time, op, which, h, l, who)
    if h == 0 and l == 0 then
        return
    end
    if which == 1 and c.kind == WINDOW then
        local o = part_of(c, who)
        return set_part(c, who, op(o[1], o[2], h, l))
    end
    if c.kind == ROLLING then
        local i = floor(time / c.x)
        if i > c.head then
            i = c.head
        end
        if i < c.head - c.k then
            return
        end
        load_buckets(c, i, i)
        local b = c.b[i]
        b[which], b[which + 1] = op(b[which], b[which + 1], h, l)
        b.dirty = true
        who = who or owner
        if which == 1 and not c.w[who] then
            c.w[who] = 'fresh'
        end
    end
    c[which], c[which + 1] = op(c[which], c[which + 1], h, l)
    c.dirty = true
end

-- How long until a rolling window has room; 0 where it never has.
local function resets_in(c, ah, al, lh, ll)
    if c.kind ~= ROLLING or not fits(0, 0, 0, 0, ah, al, lh, ll) then
        return 0
    end
    local sh, sl, rh, rl = c[1], c[2], c[3], c[4]
    load_buckets(c, c.head - c.k, c.head)
    for i = c.head - c.k, c.head do
        local b = c.b[i]
        sh, sl = minus(sh, sl, b[1], b[2])
        rh, rl = minus(rh, rl, b[3], b[4])
        if fits(sh, sl, rh, rl, ah, al, lh, ll) then
            return (i + c.k + 1) * c.x - now
        end
    end
    return 0
end

-- ---- reservations: state, time, warned, owner and its start, then claims of seven --------

-- In doubt: whoever holds it says so soon, or it goes as if it had never been.
local LIVE, EXPIRED, DOUBTED = 1, 2, 3
local held, stored, ends, touched, extended = {}, {}, {}, {}, {}

local function read_held(ids, from, to)
    if from > to then
        return
    end
    local v = call('HMGET', P .. 'r', unpack(ids, from, to))
    for i = from, to do
        local text = v[i - from + 1]
        if text and not held[ids[i]] and not touched[ids[i]] then
            held[ids[i]] = cmsgpack.unpack(text)
            stored[ids[i]] = true
        end
    end
end

local function each_claim(r, fn)
    for i = 6, #r, 7 do
        fn(counter(r[i], r[i + 1], r[i + 2], r[i + 3]), r[i + 4], r[i + 5], r[i + 6])
    end
end

-- What is past its deadline counts as spent; long after it, it is forgotten.
local function sweep()
    local list = call('ZRANGEBYSCORE', P .. 'd', '-inf', format('%.0f', now), 'WITHSCORES',
                      'LIMIT', 0, sweep_max)
    local due = {}
    for i = 1, #list, 2 do
        due[#due + 1] = list[i]
    end
    read_held(due, 1, #due)
    for i, id in ipairs(due) do
        local r, ended = held[id], tonumber(list[2 * i])
        touched[id] = true
        if r and r[1] == LIVE then
            each_claim(r, function(c, unit, h, l)
                change(c, r[2], minus, 3, h, l)
                if unit ~= CONCURRENT then
                    change(c, r[2], plus, 1, h, l, r[4])
                end
            end)
            r[1] = EXPIRED
            ended = ended + keep
            ends[id] = ended
        elseif r and r[1] == DOUBTED then
            each_claim(r, function(c, unit, h, l)
                change(c, r[2], minus, 3, h, l)
            end)
        end
        if not r or ended <= now then
            held[id], stored[id] = nil, true
        end
    end
end

-- ---- operations ------------------------------------------------------------------

-- Status, live processes (at a heartbeat), when; then what each operation and counter says.
local reply = {again and 1 or 0, 0, now}

local function answer(...)
    for i = 1, select('#', ...) do
        reply[#reply + 1] = (select(i, ...))
    end
end

local function take(id, at, n, time, mask, lasts)
    local r = {LIVE, time, mask, owner, start}
    for i = 1, n do
        local c, unit, h, l = counter_at(m[at + 1]), m[at + 2], m[at + 3], m[at + 4]
        local e = #r
        change(c, time, plus, 3, h, l)
        r[e + 1], r[e + 2], r[e + 3], r[e + 4] = c.key, c.kind, c.x, c.k
        r[e + 5], r[e + 6], r[e + 7] = unit, h, l
        at = at + 7
    end
    held[id], touched[id], ends[id] = r, true, now + lasts
end

local function is_reserved(r)
    return r[1] ~= EXPIRED
end

local function affirm(id, lasts)
    local r = held[id]
    if r[1] == DOUBTED then
        r[1], touched[id], ends[id] = LIVE, true, now + lasts
    end
end

local function reserve(id, at, n)
    local mask, bit, claim = 0, 1, at
    if held[id] then
        if not again then
            affirm(id, deadline)
        end
        return answer(0, held[id][3])
    end
    if again then
        return answer(-1)
    end
    for i = 1, n do
        local c = counter_at(m[claim + 1])
        local ah, al, lh, ll = m[claim + 3], m[claim + 4], m[claim + 5], m[claim + 6]
        if not fits(c[1], c[2], c[3], c[4], ah, al, lh, ll) then
            if m[claim + 7] == 1 then
                return answer(i, c[1], c[2], c[3], c[4], resets_in(c, ah, al, lh, ll))
            end
            mask = mask + bit
        end
        bit = bit * 2
        claim = claim + 7
    end
    take(id, at, n, now, mask, deadline)
    return answer(0, mask)
end

-- What is spent was set from the ledger since, and holds it.
local NEVER = 2 ^ 52
local function is_known(c, settled)
    return settled < (c.kind == ROLLING and rolling_as_of or as_of) or settled < c.since
end

local function settle(id, at, n, time, settled)
    local r = held[id]
    if r then
        each_claim(r, function(c, unit, h, l)
            local counts = unit ~= CONCURRENT and not is_known(c, settled)
            if is_reserved(r) then
                change(c, r[2], minus, 3, h, l)
            elseif counts then
                change(c, r[2], minus, 1, h, l, r[4])
            end
            if counts then
                change(c, r[2], plus, 1, m[at + 2 * unit + 1], m[at + 2 * unit + 2], r[4])
            end
        end)
        held[id], touched[id] = nil, true
        return
    end
    for i = 1, n do
        local claim = at + 12 + 2 * (i - 1)
        local c, unit = counter_at(m[claim + 1]), m[claim + 2]
        if unit ~= CONCURRENT and not is_known(c, settled) then
            change(c, time, plus, 1, m[at + 2 * unit + 1], m[at + 2 * unit + 2], owner)
        end
    end
end

--[[
Of the batch's owner: what an earlier start left is settled by what the ledger has of it
(nothing for what it does not know); what this start holds is in doubt, also where it had
expired: its settlement may be what was lost.  Of another owner: nothing; nor of work that goes on (its ids are of
version 8), which no ledger knows anything of.
]]
local function adopt(id, at)
    local r = held[id]
    if not r or r[4] ~= owner or floor(string.byte(id, 7) / 16) == 8 then
        return
    end
    if r[5] ~= start then
        return settle(id, at, 0, now, NEVER)
    end
    if r[1] == EXPIRED then
        each_claim(r, function(c, unit, h, l)
            if unit ~= CONCURRENT then
                change(c, r[2], minus, 1, h, l, owner)
            end
            change(c, r[2], plus, 3, h, l)
        end)
    end
    r[1], touched[id], ends[id] = DOUBTED, true, now + doubt
end

local epoch
local function epoch_now()
    epoch = epoch or call('GET', P .. 'e') or '0'
    return epoch
end

-- All that stands spent in a rolling window goes; what is reserved stays.
local function clear_rolling(c)
    load_buckets(c, c.head - c.k, c.head)
    for _, b in pairs(c.b) do
        if b[1] + b[2] > 0 then
            b[1], b[2], b.dirty = 0, 0, true
        end
    end
    c[1], c[2], c.dirty = 0, 0, true
end

-- An owner's whole part of a rolling window, of which only the sum is known: as if of now.
local function set_rolling(c, h, l)
    local field = 'o' .. epoch_now() .. '.' .. owner
    local v = call('HMGET', c.name, 'e', field)
    if not c.fresh and (v[1] or '0') ~= epoch then
        clear_rolling(c)
    elseif v[2] then -- set before, by an attempt that broke off
        local i, text = string.match(v[2], '^(%d+):(%d+)$')
        change(c, tonumber(i) * c.x, minus, 1, parse(text))
    end
    change(c, now, plus, 1, h, l)
    c.more = {'e', epoch, field, format('%.0f:%s', c.head, show(h, l))}
    c.dirty = true
end

--[[
What an owner's part is: as its ledger says, less what an operator has taken off since.  A
rebuild of everything (rolling_as_of -1) forgets that again.
]]
local function set_owned(c, h, l)
    local xh, xl = parse(c.is_eased and call('HGET', c.name, 'x' .. owner))
    if rolling_as_of < 0 then
        if xh + xl > 0 then
            c.more = {'x' .. owner, '0'}
        end
        xh, xl = 0, 0
    end
    set_part(c, owner, minus(h, l, xh, xl))
    -- the sum anew, whatever it was
    local fields, sh, sl = call('HKEYS', c.name), 0, 0
    for _, field in ipairs(fields) do
        if sub(field, 1, 1) == 'o' then
            part_of(c, sub(field, 2))
        end
    end
    for _, o in pairs(c.o) do
        sh, sl = plus(sh, sl, o[1], o[2])
    end
    c[1], c[2] = sh, sl
end

-- An operator says what is spent; how much that takes off each owner's part is kept.
local function reset(c, h, l)
    if c.kind == ROLLING then
        clear_rolling(c)
        return change(c, now, plus, 1, h, l)
    end
    local fields = call('HGETALL', c.name)
    c.more, c.is_eased = {'x', '1'}, true
    for i = 1, #fields, 2 do
        local who = string.match(fields[i], '^o(.+)$')
        if who then
            local oh, ol = unpack(part_of(c, who))
            local xh, xl = plus(oh, ol, parse(call('HGET', c.name, 'x' .. who)))
            local n = #c.more
            c.more[n + 1], c.more[n + 2] = 'x' .. who, show(xh, xl)
            set_part(c, who, 0, 0)
        end
    end
    set_part(c, owner, h, l)
end

local function set(at)
    local c, h, l = counter_at(m[at + 1]), m[at + 3], m[at + 4]
    if m[at + 7] == 1 then
        return reset(c, h, l)
    elseif c.kind == ROLLING then
        return set_rolling(c, h, l)
    end
    return set_owned(c, h, l)
end

--[[
Of a limit that came with a reload, for the batch's owner: what its part holds is from before
`since` and not to count, nor is what was settled before; what ends later comes one by one.
Rolling counters have no parts: where nobody else has put in anything all goes, and where
this owner has put in nothing, nothing; else it is noted that neither can be said.
]]
local function time_of(at)
    return m[at + 5] * BILLION + m[at + 6]
end

local function rolling_from(c)
    local own, others = false, false
    for _, field in ipairs(call('HKEYS', c.name)) do
        if sub(field, 1, 1) == 'w' then
            own = own or sub(field, 2) == owner
            others = others or sub(field, 2) ~= owner
        end
    end
    if own and not others then
        clear_rolling(c)
    elseif own or (not others and c[1] + c[2] > 0) then
        return 'mixed'
    end
    return '0'
end

local function from(at)
    local c, since = counter_at(m[at + 1]), time_of(at)
    local base
    if c.kind == ROLLING then
        base = rolling_from(c)
    else
        base = show(unpack(part_of(c, owner)))
    end
    c.more = {'a' .. owner, format('%.0f', since), 'b' .. owner, base}
    c.since, c.dirty = since, true
end

-- What the ledger has from before `since`, where `from` has said what it replaces.
local function add(at)
    local c, h, l, since = counter_at(m[at + 1]), m[at + 3], m[at + 4], time_of(at)
    local v = call('HMGET', c.name, 'b' .. owner, 'x' .. owner)
    local base = c.since == since and v[1] or '0'
    if c.kind == ROLLING then
        if base == 'mixed' then
            h, l = minus(h, l, c[1], c[2])
        end
        change(c, now, plus, 1, h, l)
    else
        local o = part_of(c, owner)
        local oh, ol = minus(o[1], o[2], parse(base))
        h, l = minus(h, l, parse(c.is_eased and v[2]))
        set_part(c, owner, plus(oh, ol, h, l))
    end
    c.more = {'a' .. owner, format('%.0f', since), 'b' .. owner, '0'}
    c.since, c.dirty = since, true
end

-- a / n and what is left of it, in billions and rest.
local function part(h, l, n)
    local whole = floor(h / n)
    return whole, floor(((h - whole * n) * BILLION + l) / n)
end

local function is_less(h, l, h2, l2)
    return h < h2 or (h == h2 and l < l2)
end

local function least_of(h, l, h2, l2)
    if is_less(h, l, h2, l2) then
        return h, l
    end
    return h2, l2
end

-- How many processes share the counters, so that no lease is too large for the others.
local n_nodes
local function nodes()
    n_nodes = n_nodes or math.max(1, call('ZCARD', P .. 'n'))
    return n_nodes
end

--[[
A lease tells what was spent from it, and what stays reserved of it in any case (the worst
cases of requests that run, and what it keeps free).  It is given as much on top as it
wants, but never more free than one part in many of the room that there is: so leases
shrink with what is left, and where a slice would hold less than a few requests, there is none.
]]
local function lease(id, at)
    local c, unit, enforced = counter_at(m[at + 1]), m[at + 2], m[at + 7] == 1
    local bh, bl, lh, ll = m[at + 3], m[at + 4], m[at + 5], m[at + 6]
    local wh, wl, kh, kl = m[at + 8], m[at + 9], m[at + 10], m[at + 11]
    local r = held[id]
    local gh, gl, mh, ml = 0, 0, 0, 0

    if again then
        if r and is_reserved(r) then
            gh, gl = minus(r[11], r[12], bh, bl)
            mh, ml = plus(gh, gl, kh, kl)
        end
        return answer(gh, gl, mh, ml)
    end
    if r and is_reserved(r) then
        change(c, r[2], minus, 3, r[11], r[12])
    elseif r then
        change(c, r[2], minus, 1, r[11], r[12], owner)
    end
    if not is_known(c, m[at + 16]) then
        change(c, now, plus, 1, m[at + 14], m[at + 15], owner)
    end
    change(c, now, plus, 3, bh, bl)
    if not enforced then
        mh, ml = wh, wl
    else
        local rh, rl = minus(lh, ll, plus(c[1], c[2], c[3], c[4]))
        rh, rl = plus(rh, rl, kh, kl)
        mh, ml = part(rh, rl, lease_share * nodes())
    end
    local th, tl = least_of(wh, wl, mh, ml)
    if not is_less(th, tl, m[at + 12], m[at + 13]) then
        gh, gl = minus(th, tl, kh, kl)
    end
    bh, bl = plus(bh, bl, gh, gl)
    change(c, now, plus, 3, gh, gl)
    touched[id] = true
    if bh == 0 and bl == 0 then
        held[id] = nil
    else
        held[id] = {LIVE, now, 0, owner, start, c.key, c.kind, c.x, c.k, unit, bh, bl}
        ends[id] = now + lease_deadline
    end
    return answer(gh, gl, mh, ml)
end

--[[
A process counts on where it has counted itself (its own workers agree among themselves), or
from where it knows that others stopped.  What it answers does not depend on how often the
claim comes, nor on whose of a process' workers was first: a place in what is counted is whoever's
it was from the first.  Told are also how much is counted, and where the stretch ends that the
claim begins in.
]]
local works, stretches_max = {}, 64

local function work_of(id)
    local v = call('HMGET', P .. 'k:' .. id, 'n', 'by', 'r')
    local r = v[3] and cmsgpack.unpack(v[3]) or v[2] and {0, v[2]} or {}
    works[id] = {n = tonumber(v[1] or '0'), r = r}
    return works[id]
end

local function claim(id, from, to)
    local w = works[id] or work_of(id)
    local r, whose, upto = w.r, nil, w.n
    for i = 1, #r, 2 do
        if from < r[i] then
            upto = r[i]
            break
        end
        whose = r[i + 1]
    end
    local mine = to > 0 and (from >= w.n or whose == node)
    if mine and to > w.n then
        if r[#r] ~= node then
            r[#r + 1], r[#r + 2] = w.n, node
        end
        if #r > 2 * stretches_max then -- the oldest are nobody's from now on
            table.remove(r, 3)
            table.remove(r, 3)
            r[2] = ''
        end
        w.n = to
    end
    w.dirty = w.dirty or mine
    return answer(mine and 1 or 0, w.n, upto)
end

if not again then
    sweep()
end
read_held(m, ids_at + 1, ids_at + n_ops)

local at = ops_at
for i = 1, n_ops do
    local id, type, n = m[ids_at + i], m[at + 1], m[at + 2]
    if type == RESERVE then
        reserve(id, at + 2, n)
        at = at + 2 + 7 * n
    elseif type == FORCE then
        if not again and held[id] then
            affirm(id, m[at + 4])
        elseif not again then
            take(id, at + 4, n, now - m[at + 3], 0, m[at + 4])
        end
        at = at + 4 + 7 * n
    elseif type == SETTLE then
        if not again then
            settle(id, at + 4, n, now - m[at + 3], m[at + 4])
        end
        at = at + 4 + 12 + 2 * n
    elseif type == EXTEND then
        if not again and held[id] and is_reserved(held[id]) then
            affirm(id, deadline)
            ends[id], extended[id] = now + deadline, true
        end
        at = at + 2
    elseif type == CLAIM then
        claim(id, m[at + 3], m[at + 4])
        at = at + 4
    elseif type == LEASE then
        lease(id, at + 2)
        at = at + 2 + 7 + 9
    elseif type == ADOPT then
        adopt(id, at + 2)
        at = at + 2 + 12
    elseif type == FROM then
        from(at + 2)
        at = at + 2 + 7
    elseif type == ADD then
        add(at + 2)
        at = at + 2 + 7
    else
        set(at + 2)
        at = at + 2 + 7
    end
end

-- ---- what changed -----------------------------------------------------------------

for i = 0, n_keys - 1 do
    local c = cache[m[keys_at + 4 * i + 1]]
    if c then
        answer(plus(c[1], c[2], c[3], c[4]))
    else
        answer(-1, 0)
    end
end
if again then
    return reply
end

local function write_rolling(c)
    local fields = {'h', format('%.0f', c.head), 's', show(c[1], c[2]), 'r', show(c[3], c[4])}
    local life = (c.k + 2) * c.x
    for _, value in ipairs(c.more or {}) do
        fields[#fields + 1] = value
    end
    for who, how in pairs(c.w) do
        if how == 'fresh' then
            fields[#fields + 1], fields[#fields + 2] = 'w' .. who, '1'
        end
    end
    for i, b in pairs(c.b) do
        if b.dirty then
            local n = #fields
            fields[n + 1], fields[n + 2] = 's' .. i, show(b[1], b[2])
            fields[n + 3], fields[n + 4] = 'r' .. i, show(b[3], b[4])
        end
    end
    if c.gone then
        call('DEL', c.name)
    elseif c.left then
        call('HDEL', c.name, unpack(c.left))
    end
    call('HSET', c.name, unpack(fields))
    if c.fresh or c.moved then
        call('PEXPIREAT', c.name, format('%.0f', floor((now + life) / 1000) + 1))
        call('ZADD', P .. 'i', format('%.0f', floor((now + life) / 1000000) + 1), c.key)
    end
end

for _, c in ipairs(loaded) do
    if c.is_stamped then
        local more = c.more or {}
        local n = #more
        more[n + 1], more[n + 2] = 'a' .. owner, format('%.0f', c.since)
        c.more = more
    end
    if not c.dirty then
        -- as it was
    elseif c[1] + c[2] + c[3] + c[4] == 0 and not c.is_eased then
        if not c.fresh then
            call('DEL', c.name)
            call('ZREM', P .. 'i', c.key)
        end
    elseif c.kind == ROLLING then
        write_rolling(c)
    else
        local fields = {'s', show(c[1], c[2]), 'r', show(c[3], c[4]), unpack(c.more or {})}
        for who, o in pairs(c.o) do
            if o.dirty then
                fields[#fields + 1], fields[#fields + 2] = 'o' .. who, show(o[1], o[2])
            end
        end
        call('HSET', c.name, unpack(fields))
        if c.fresh and c.kind == WINDOW and c.x > 0 then
            call('EXPIREAT', c.name, format('%.0f', c.x))
            call('ZADD', P .. 'i', format('%.0f', c.x), c.key)
        elseif c.fresh then
            call('ZADD', P .. 'i', '+inf', c.key)
        end
    end
end

for id, w in pairs(works) do
    if w.dirty then
        local name = P .. 'k:' .. id
        call('HSET', name, 'n', format('%.0f', w.n), 'by', w.r[#w.r], 'r', cmsgpack.pack(w.r))
        call('EXPIRE', name, counted_keep)
    end
end

local kept, due, gone = {}, {}, {}
for id in pairs(touched) do
    local r = held[id]
    extended[id] = nil
    if r then
        kept[#kept + 1], kept[#kept + 2] = id, cmsgpack.pack(r)
        due[#due + 1], due[#due + 2] = format('%.0f', ends[id]), id
    elseif stored[id] then
        gone[#gone + 1] = id
    end
end
for id in pairs(extended) do
    due[#due + 1], due[#due + 2] = format('%.0f', ends[id]), id
end
if #kept > 0 then
    call('HSET', P .. 'r', unpack(kept))
end
if #due > 0 then
    call('ZADD', P .. 'd', unpack(due))
end
if #gone > 0 then
    call('HDEL', P .. 'r', unpack(gone))
    call('ZREM', P .. 'd', unpack(gone))
end

call('SET', P .. 'q:' .. instance, format('%.0f', seq), 'EX', 604800)
if heartbeat == 1 then
    call('ZADD', P .. 'n', format('%.0f', now), node)
    call('ZREMRANGEBYSCORE', P .. 'n', '-inf', format('%.0f', now - node_live))
    local over = call('ZRANGEBYSCORE', P .. 'i', '-inf', format('%.0f', floor(now / 1000000)),
                      'LIMIT', 0, 256)
    if #over > 0 then
        call('ZREM', P .. 'i', unpack(over))
    end
    reply[2] = call('ZCARD', P .. 'n')
end
return reply
