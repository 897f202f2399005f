export default defineAppConfig({
  ui: {
    colors: { primary: 'teal', neutral: 'stone' },
    // An invitation to choose is text to read, not a shade of it.
    select: { slots: { placeholder: 'text-muted' } },
    selectMenu: { slots: { placeholder: 'text-muted' } },
    // Beside the button that closes it.
    modal: { slots: { title: 'pe-8', description: 'pe-8' } },
    button: {
      // 40 px high for fingers, and no louder than the text around it.
      variants: {
        size: {
          xl: {
            base: 'min-h-10 min-w-10 justify-center py-2.5 text-sm',
            leadingIcon: 'size-5',
            trailingIcon: 'size-5',
          },
        },
      },
    },
  },
})
