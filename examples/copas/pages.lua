local pages = {}

pages['/'] = function() return 'hello\n' end

return pages
