/** What one person wants to receive, how and when: each category on each channel, and a profile. */
import { REST, clone } from "./page.js";

const CHANNELS = { inapp: "in-app", email: "mail", sms: "SMS" };

export class Preferences {
  /**
   * `call` and `attempt` are the inbox's: a call with the person's token, and trying what may fail.
   * `onProfile` gets the profile as the hub has it.
   */
  constructor(user, { call, attempt, onProfile }) {
    Object.assign(this, { call, attempt, onProfile });
    this.path = `${REST}/preferences/users/${user.id}`;
    [this.root, this.slots] = clone("preferences", { caption: `What ${user.name} receives, by channel` });
    this.slots.profile.setAttribute("aria-label", `Profile of ${user.name}`);
    this.slots.profile.onsubmit = (submitted) => {
      submitted.preventDefault();
      this.save();
    };
  }

  load() {
    return this.tryTo(this.slots["choices-said"], "", async () => {
      const { body } = await this.call("GET", this.path);
      this.showChoices(body.preferences);
      this.showProfile(body.profile);
    });
  }

  /** Do it, then say there that it is `done`, or what went wrong. */
  tryTo(said, done, work) {
    return this.attempt(work, (failure) => {
      said.textContent = failure || done;
      said.classList.toggle("error", Boolean(failure));
    });
  }

  showChoices(choices) {
    const rows = new Map();
    for (const choice of choices) {
      if (!rows.has(choice.category)) rows.set(choice.category, clone("category", { category: choice.category })[0]);
      rows.get(choice.category).append(this.cell(choice));
    }
    this.slots.rows.replaceChildren(...rows.values());
  }

  cell(choice) {
    if (choice.by === "always") return clone("always-on")[0];
    const [cell, { select }] = clone("choice");
    select.setAttribute("aria-label", nameOf(choice));
    select.onchange = () => this.choose(choice, select);
    showChoice(select, choice);
    return cell;
  }

  async choose(choice, select) {
    const path = `${this.path}/${choice.id}`;
    const chosen = select.value;
    await this.tryTo(this.slots["choices-said"], `${nameOf(choice)}: saved.`, async () => {
      const { body } = await (chosen === "default"
        ? this.call("DELETE", path)
        : this.call("PUT", path, { enabled: chosen === "on" }));
      Object.assign(choice, body);
    });
    showChoice(select, choice); // as it was, if that failed
  }

  get fields() {
    return [...this.slots.profile.elements].filter(({ name }) => name);
  }

  showProfile(profile) {
    this.profile = profile;
    for (const field of this.fields) field.value = profile[field.name] ?? "";
    this.onProfile(profile);
  }

  save() {
    return this.put(Object.fromEntries(this.fields.map(({ name, value }) => [name, value.trim() || null])));
  }

  /** Save another language; what else is in the form stays unsaved. */
  speak(locale) {
    return this.put({ ...this.profile, locale });
  }

  put(profile) {
    return this.tryTo(this.slots["profile-said"], "Profile: saved.", async () => {
      const { body } = await this.call("PUT", `${this.path}/profile`, profile);
      this.showProfile(body);
    });
  }
}

const nameOf = ({ category, channel }) => `${category} by ${CHANNELS[channel]}`;

/** What holds is in the colour; the default says what it is while it is what holds. */
function showChoice(select, { enabled, by }) {
  const state = enabled ? "on" : "off";
  select.value = by === "default" ? "default" : state;
  select.dataset.state = state;
  select.options[0].textContent = by === "default" ? `Default: ${state}` : "Default";
}
