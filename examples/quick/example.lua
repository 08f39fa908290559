print 'startup' -- imagine that this takes a while
dofile 'foo.lua'
print 'finished'
