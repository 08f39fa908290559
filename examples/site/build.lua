--- A static site generator: every page in site.lua becomes out/<name>.html.
--
--     forkmon --filter '%.lua$;%.html$;%.txt$' build.lua

-- In the order of how seldom they change: what a change means is done again from there on.
local site = require 'site'

local function read(path)
  local file = assert(io.open(path))
  local text = file:read '*a'
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, 'w'))
  file:write(text)
  file:close()
  print('wrote ' .. path)
end

local function escape(text)
  return (text:gsub('[<>&"]', { ['<'] = '&lt;', ['>'] = '&gt;', ['&'] = '&amp;', ['"'] = '&quot;' }))
end

--- Paragraphs, and a first line that is the title.
local function parse(text)
  local title, body = text:match '^([^\n]*)\n(.*)$'
  local paragraphs = {}
  for paragraph in (body .. '\n\n'):gmatch '%s*(.-)\n\n' do
    if paragraph ~= '' then paragraphs[#paragraphs + 1] = '<p>' .. escape(paragraph) .. '</p>' end
  end
  return { title = escape(title), body = table.concat(paragraphs, '\n') }
end

--- Fills each {{name}} from the fields.
local function fill(template, fields)
  return (template:gsub('{{(%w+)}}', function(name)
    return fields[name] or error('the template asks for {{' .. name .. '}}, which is not there')
  end))
end

local pages = {}
for _, name in ipairs(site.pages) do
  pages[name] = parse(read('pages/' .. name .. '.txt'))
  pages[name].site = site.title
end

local template = read 'templates/page.html'
local links = {}
for _, name in ipairs(site.pages) do
  links[#links + 1] = fill('<a href="{{name}}.html">{{title}}</a>', { name = name, title = pages[name].title })
end

os.execute 'mkdir -p out'
for _, name in ipairs(site.pages) do
  pages[name].links = table.concat(links, ' ')
  write('out/' .. name .. '.html', fill(template, pages[name]))
end
print 'done'
