-- limit_write.lua - sets what is spent in one counter; its reservations stay.
--
-- KEYS[1]: prefix.  ARGV: key, kind (0 calendar, 1 rolling), expiry in seconds or bucket
-- in microseconds, buckets, spent, now in microseconds (0: the clock).  The layout is
-- that of limits.lua.

local call, floor, format = redis.call, math.floor, string.format
local P, key, kind = KEYS[1], ARGV[1], tonumber(ARGV[2])
local x, k, spent, now = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local name = P .. 'c:' .. key

if now == 0 then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
if kind == 0 then
    call('HSET', name, 's', spent, 'r', call('HGET', name, 'r') or '0')
    if x > 0 then
        call('EXPIREAT', name, format('%.0f', x))
    end
    call('ZADD', P .. 'i', x > 0 and format('%.0f', x) or '+inf', key)
    return redis.status_reply('OK')
end

-- Written anew: all is spent now.  What is reserved is exact to 2^53 here.
local old = call('HGETALL', name)
local head, reserved = floor(now / x), 0
local life = (k + 2) * x
local fields = {}
for i = 1, #old, 2 do
    if old[i] == 'h' and tonumber(old[i + 1]) > head then
        head = tonumber(old[i + 1])
    end
end
for i = 1, #old, 2 do
    local n = tonumber(string.match(old[i], '^r(%d+)$'))
    if n and n >= head - k then
        reserved = reserved + tonumber(old[i + 1])
        fields[#fields + 1], fields[#fields + 2] = old[i], old[i + 1]
    end
end
call('DEL', name)
call('HSET', name, 'h', format('%.0f', head), 's', spent, 'r', format('%.0f', reserved),
     's' .. head, spent, unpack(fields))
call('PEXPIRE', name, format('%.0f', floor(life / 1000) + 1))
call('ZADD', P .. 'i', format('%.0f', floor((now + life) / 1000000) + 1), key)
return redis.status_reply('OK')
