return {
  title = 'A small site',
  pages = { 'index', 'about' },
}
