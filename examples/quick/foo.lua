print 'foo!'
