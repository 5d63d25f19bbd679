/** @typedef {"from" | "until" | "zone" | "day" | "time" | "immediate" | "hourly" | "daily" | "weekly" | "devices" | "enable" | "blocked" | "here" | "since" | "remove"} Later */

/**
 * What only the parts say that are loaded later.
 *
 * @type {Record<string, Required<Pick<import("../../preferences.d.ts").PreferencesTexts, Later>>>}
 */
export const LATER_WORDS = {
  en: {
    from: "From",
    until: "Until",
    zone: "Time zone",
    immediate: "At once",
    hourly: "Hourly",
    daily: "Daily at …",
    weekly: "Weekly on …",
    day: "day",
    time: "time",
    devices: "Push notifications",
    enable: "Turn on in this browser",
    blocked: "This browser blocks notifications. Allow them in its settings.",
    here: "this browser",
    since: "since {date}",
    remove: "Remove",
  },
  ru: {
    from: "С",
    until: "До",
    zone: "Часовой пояс",
    immediate: "Сразу",
    hourly: "Каждый час",
    daily: "Каждый день в …",
    weekly: "Каждую неделю: …",
    day: "день",
    time: "время",
    devices: "Push-уведомления",
    enable: "Включить в этом браузере",
    blocked: "Браузер блокирует уведомления. Разрешите их в его настройках.",
    here: "этот браузер",
    since: "с {date}",
    remove: "Удалить",
  },
  vi: {
    from: "Từ",
    until: "Đến",
    zone: "Múi giờ",
    immediate: "Ngay lập tức",
    hourly: "Mỗi giờ",
    daily: "Hằng ngày lúc …",
    weekly: "Hằng tuần vào …",
    day: "ngày",
    time: "giờ",
    devices: "Thông báo đẩy",
    enable: "Bật trên trình duyệt này",
    blocked: "Trình duyệt đang chặn thông báo. Hãy cho phép trong cài đặt của trình duyệt.",
    here: "trình duyệt này",
    since: "từ {date}",
    remove: "Gỡ",
  },
};
