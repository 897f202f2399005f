/** The browser offers to install the page before anybody asks for it. */
export default defineNuxtPlugin(() => useInstall().listen())
