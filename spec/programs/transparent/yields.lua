local first = coroutine.yield('yielded', nil)
local second = coroutine.yield(first)
return second, nil
