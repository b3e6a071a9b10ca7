"""What Redis does by itself, as one step that nobody interrupts: keep bundles under a cap, the least useful out first.

Each tenant has, beside a key a bundle: `sizes` and `uses` (hashes by digest), `rank` (digests by priority, see
`eviction`; every miss costs the same here, one fetch from the store), `pins` (a set), `clock`, `cap` and `total` in
bytes. The books are kept with the bundles in one script, so the total is the sum of what is there, and the cap holds at
every moment: room is made before anything is written. A bundle that the server drops or forgets by itself is struck off
when it is next looked for, and by `BOUND`. A book that is lost or spoiled is written anew from the others and from what
is there, by the next `PUT` that sees it and by every `BOUND`.
"""

from typing import Final

# KEYS of every script: prefix of bundles, sizes, uses, rank, clock, total. `pins` and `cap` beside them are not named
# as keys: a loader's user may only read those two, and the server lets it name only keys that it may write.
_BOOKS: Final = """
local bundles, sizes, uses, rank, clock, total = unpack(KEYS)
local pins = string.gsub(bundles, 'bundle:$', 'pins')
local cap = string.gsub(bundles, 'bundle:$', 'cap')

local function strike(digest)
    local size = tonumber(redis.call('HGET', sizes, digest) or '')
    if size then
        redis.call('HDEL', sizes, digest)
        redis.call('HDEL', uses, digest)
        redis.call('ZREM', rank, digest)
        redis.call('DECRBY', total, size)
    end
end

local function enter(digest, size, count)
    redis.call('HSET', sizes, digest, size)
    redis.call('HSET', uses, digest, count)
    redis.call('INCRBY', total, size)
end

local function weigh(digest)
    local worth = redis.call('HGET', uses, digest) / math.max(1, redis.call('HGET', sizes, digest))
    redis.call('ZADD', rank, (tonumber(redis.call('GET', clock) or '') or 0) + worth, digest)
end

-- Whether the books say the same as far as that costs nothing to ask.
local function are_sound()
    local held = redis.pcall('HLEN', sizes)
    local sum = redis.pcall('GET', total)
    return type(held) == 'number' and redis.pcall('HLEN', uses) == held and redis.pcall('ZCARD', rank) == held
        and type(sum) ~= 'table' and (held == 0) == ((tonumber(sum or '') or 0) == 0)
        and type(redis.pcall('GET', clock)) ~= 'table'
end

-- Write the books anew from whatever they know, and from the sizes that the bundles have.
local function rewrite()
    local known, counts, scores = {}, {}, {}
    local function learn(list)
        for _, digest in ipairs(list.err and {} or list) do
            known[digest] = true
        end
    end
    learn(redis.pcall('HKEYS', sizes))
    learn(redis.pcall('HKEYS', uses))
    learn(redis.pcall('ZRANGE', rank, 0, -1))
    for digest in pairs(known) do
        local count, score = redis.pcall('HGET', uses, digest), redis.pcall('ZSCORE', rank, digest)
        counts[digest] = type(count) == 'string' and tonumber(count) or 1
        scores[digest] = type(score) == 'string' and score or nil
    end
    redis.call('DEL', sizes, uses, rank, total)
    if type(redis.pcall('GET', clock)) == 'table' then
        redis.call('DEL', clock)
    end
    for digest in pairs(known) do
        local size = redis.pcall('STRLEN', bundles .. digest)
        if type(size) == 'table' then
            redis.call('DEL', bundles .. digest)
        elseif size > 0 then
            enter(digest, size, counts[digest])
            if scores[digest] then
                redis.call('ZADD', rank, scores[digest], digest)
            else
                weigh(digest)
            end
        end
    end
end

-- The digests to drop, lowest first, so that `needed` more bytes fit; nil where pins leave no room.
local function choose(needed, except)
    local most = tonumber(redis.call('GET', cap) or '')
    local excess = most and (tonumber(redis.call('GET', total) or '0') + needed - most) or 0
    local chosen, place = {}, 0
    while excess > 0 do
        local digest = redis.call('ZRANGE', rank, place, place)[1]
        if not digest then
            return nil
        end
        place = place + 1
        if digest ~= except and redis.call('SISMEMBER', pins, digest) == 0 then
            chosen[#chosen + 1] = digest
            excess = excess - redis.call('HGET', sizes, digest)
        end
    end
    return chosen
end

local function drop(chosen)
    for _, digest in ipairs(chosen) do
        redis.call('SET', clock, redis.call('ZSCORE', rank, digest))
        redis.call('DEL', bundles .. digest)
        strike(digest)
    end
end
"""

# ARGV: digest, bytes. Answers 1, or 0 where there is no room for it beside what is pinned.
PUT: Final = (
    _BOOKS
    + """
local digest, data = ARGV[1], ARGV[2]
if not are_sound() then
    rewrite()
end
local held = tonumber(redis.call('HGET', sizes, digest) or '0')
local chosen = choose(#data - held, digest)
if not chosen then
    return 0
end
drop(chosen)
local count = redis.call('HGET', uses, digest) or 1
strike(digest)
redis.call('SET', bundles .. digest, data)
enter(digest, #data, count)
weigh(digest)
return 1
"""
)

# ARGV: digest, the most bytes. Answers the value, one byte longer where it is larger; a use is counted.
FIND: Final = (
    _BOOKS
    + """
local digest = ARGV[1]
local data = redis.pcall('GETRANGE', bundles .. digest, 0, ARGV[2])
if type(data) == 'table' then
    return data
end
-- The books are a matter of what to drop: whatever is wrong with them, the bundle is handed out.
pcall(function()
    if #data == 0 then
        strike(digest)
        return
    end
    if redis.call('HEXISTS', sizes, digest) == 0 then
        enter(digest, redis.call('STRLEN', bundles .. digest), 0)
    end
    redis.call('HINCRBY', uses, digest, 1)
    weigh(digest)
end)
return data
"""
)

# ARGV: digest.
DROP: Final = (
    _BOOKS
    + """
redis.call('DEL', bundles .. ARGV[1])
strike(ARGV[1])
"""
)

# ARGV: cap in bytes, then the digests to pin. Answers what was dropped for it.
BOUND: Final = (
    _BOOKS
    + """
redis.call('SET', cap, ARGV[1])
redis.call('DEL', pins)
for place = 2, #ARGV do
    redis.call('SADD', pins, ARGV[place])
end
rewrite()
local chosen = choose(0, '')
if not chosen then
    -- What is pinned alone is too much: everything else goes.
    chosen = {}
    for _, digest in ipairs(redis.call('ZRANGE', rank, 0, -1)) do
        if redis.call('SISMEMBER', pins, digest) == 0 then
            chosen[#chosen + 1] = digest
        end
    end
end
drop(chosen)
return chosen
"""
)
