import { directionOf } from "./language.js";

/**
 * @typedef {Record<string, string>} Forms of one text, by the plural category of its number; {n} is the number
 *
 * @typedef {object} Words
 * @property {string} title
 * @property {Forms} unread
 * @property {Forms} fresh
 * @property {string} isUnread
 * @property {string} readAll
 * @property {string} read
 * @property {string} remove
 * @property {string} close
 * @property {string} more
 * @property {string} less
 * @property {string} success
 * @property {string} warning
 * @property {string} critical
 * @property {string} loading
 * @property {string} older
 * @property {string} empty
 * @property {string} emptyHint
 * @property {string} waiting
 * @property {string} offline
 * @property {string} signedOut
 * @property {string} forbidden
 * @property {string} ended
 * @property {string} connect
 * @property {string} failed
 * @property {string} removed
 * @property {string} allRead
 * @property {string} tabAll
 * @property {string} tabUnread
 * @property {string} tabArchive
 * @property {string} unreadAgain
 * @property {string} archive
 * @property {string} archiveAll
 * @property {string} snooze
 * @property {string} snoozed
 * @property {string} anotherTime
 * @property {string} inAnHour
 * @property {string} tomorrow
 * @property {string} nextWeek
 * @property {string} unarchive
 * @property {string} archived
 * @property {string} unarchived
 * @property {string} undo
 * @property {string} emptyUnread
 * @property {string} emptyArchive
 * @property {string} settings
 */

/** @type {Record<string, Words>} */
export const WORDS = {
  en: {
    title: "Notifications",
    unread: { other: "{n} unread" },
    fresh: { one: "{n} new notification", other: "{n} new notifications" },
    isUnread: "Unread",
    readAll: "Mark all as read",
    read: "Mark as read",
    remove: "Delete",
    close: "Close",
    more: "Show more",
    less: "Show less",
    success: "Done",
    warning: "Warning",
    critical: "Urgent",
    loading: "Loading …",
    older: "Show older notifications",
    empty: "No notifications yet",
    emptyHint: "New notifications appear here automatically.",
    waiting: "Connection lost. Reconnecting …",
    offline: "You are offline. This list may be out of date.",
    signedOut: "You are signed out",
    forbidden: "You don't have access to these notifications",
    ended: "Live notifications are off",
    connect: "Reconnect",
    failed: "Something went wrong. Try again.",
    removed: "Deleted",
    allRead: "All notifications are marked as read",
    tabAll: "All",
    tabUnread: "Unread",
    tabArchive: "Archive",
    unreadAgain: "Mark as unread",
    archive: "Archive",
    archiveAll: "Archive all",
    snooze: "Snooze",
    snoozed: "Snoozed",
    anotherTime: "Another time",
    inAnHour: "In an hour",
    tomorrow: "Tomorrow morning",
    nextWeek: "Next week",
    unarchive: "Move to inbox",
    archived: "Archived",
    unarchived: "Moved to inbox",
    undo: "Undo",
    emptyUnread: "You have read everything",
    emptyArchive: "The archive is empty",
    settings: "Notification settings",
  },
  ru: {
    title: "Уведомления",
    unread: { one: "{n} непрочитанное", other: "{n} непрочитанных" },
    fresh: { one: "{n} новое уведомление", few: "{n} новых уведомления", other: "{n} новых уведомлений" },
    isUnread: "Не прочитано",
    readAll: "Прочитать все",
    read: "Отметить прочитанным",
    remove: "Удалить",
    close: "Закрыть",
    more: "Показать полностью",
    less: "Свернуть",
    success: "Успешно",
    warning: "Внимание",
    critical: "Срочно",
    loading: "Загрузка …",
    older: "Показать более ранние",
    empty: "Уведомлений пока нет",
    emptyHint: "Новые уведомления появятся здесь автоматически.",
    waiting: "Соединение потеряно. Подключаемся …",
    offline: "Нет подключения к сети. Список может быть неактуальным.",
    signedOut: "Вы вышли из системы",
    forbidden: "У вас нет доступа к этим уведомлениям",
    ended: "Получение новых уведомлений отключено",
    connect: "Подключиться снова",
    failed: "Не получилось. Попробуйте ещё раз.",
    removed: "Удалено",
    allRead: "Все уведомления прочитаны",
    tabAll: "Все",
    tabUnread: "Новые",
    tabArchive: "Архив",
    unreadAgain: "Отметить непрочитанным",
    archive: "В архив",
    archiveAll: "Всё в архив",
    snooze: "Отложить",
    snoozed: "Отложено",
    anotherTime: "Другое время",
    inAnHour: "Через час",
    tomorrow: "Завтра утром",
    nextWeek: "На следующей неделе",
    unarchive: "Вернуть во входящие",
    archived: "Перемещено в архив",
    unarchived: "Возвращено во входящие",
    undo: "Отменить",
    emptyUnread: "Всё прочитано",
    emptyArchive: "Архив пуст",
    settings: "Настройки уведомлений",
  },
  vi: {
    title: "Thông báo",
    unread: { other: "{n} chưa đọc" },
    fresh: { other: "{n} thông báo mới" },
    isUnread: "Chưa đọc",
    readAll: "Đánh dấu tất cả đã đọc",
    read: "Đánh dấu đã đọc",
    remove: "Xóa",
    close: "Đóng",
    more: "Xem thêm",
    less: "Thu gọn",
    success: "Thành công",
    warning: "Cảnh báo",
    critical: "Khẩn cấp",
    loading: "Đang tải …",
    older: "Xem thông báo cũ hơn",
    empty: "Chưa có thông báo nào",
    emptyHint: "Thông báo mới sẽ tự hiện ở đây.",
    waiting: "Mất kết nối. Đang thử lại …",
    offline: "Bạn đang ngoại tuyến. Danh sách có thể chưa cập nhật.",
    signedOut: "Bạn đã đăng xuất",
    forbidden: "Bạn không có quyền xem các thông báo này",
    ended: "Đã ngừng nhận thông báo mới",
    connect: "Kết nối lại",
    failed: "Không thực hiện được. Vui lòng thử lại.",
    removed: "Đã xóa",
    allRead: "Đã đánh dấu tất cả là đã đọc",
    tabAll: "Tất cả",
    tabUnread: "Chưa đọc",
    tabArchive: "Lưu trữ",
    unreadAgain: "Đánh dấu chưa đọc",
    archive: "Lưu trữ",
    archiveAll: "Lưu trữ tất cả",
    snooze: "Tạm ẩn",
    snoozed: "Đã tạm ẩn",
    anotherTime: "Thời điểm khác",
    inAnHour: "Sau 1 giờ",
    tomorrow: "Sáng mai",
    nextWeek: "Tuần sau",
    unarchive: "Chuyển về hộp thư",
    archived: "Đã lưu trữ",
    unarchived: "Đã chuyển về hộp thư",
    undo: "Hoàn tác",
    emptyUnread: "Bạn đã đọc hết",
    emptyArchive: "Chưa lưu trữ gì",
    settings: "Cài đặt thông báo",
  },
};

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]; // ms
const WEEK = 7; // days
const MOST = 99; // that fit into the badge

/** What the bell says, in one language. */
export class Texts {
  #plurals;
  #number;
  #relative;

  /**
   * @param {string} language of those in `WORDS`
   * @param {import("../../bell.d.ts").BellTexts} [given] the page's own, in the language that they name; what they lack
   *   is said in the other one
   */
  constructor(language, { lang = language, categories = {}, ...given } = {}) {
    this.names = categories;
    this.otherwise = language;
    this.language = lang;
    this.direction = directionOf(lang);
    this.words = /** @type {Words} */ ({ ...WORDS[language], ...given });
    this.#plurals = new Intl.PluralRules(lang);
    this.#number = new Intl.NumberFormat(lang);
    this.#relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
  }

  /**
   * @param {"unread" | "fresh"} name
   * @param {number} count
   */
  counted(name, count) {
    const forms = this.words[name];
    return (forms[this.#plurals.select(count)] ?? forms.other).replace("{n}", this.#number.format(count));
  }

  /** @param {number} count */
  badge(count) {
    return count > MOST ? `${MOST}+` : String(count);
  }

  /**
   * How long ago, or the day of what is older than a week. A clock that is slow makes it "now".
   *
   * @param {string} moment
   * @param {number} now unix time in ms
   */
  ago(moment, now) {
    const then = new Date(moment);
    const passed = now - then.getTime();
    const days = Math.round((midnight(now) - midnight(then)) / DAY);
    if (passed < MINUTE) return this.#relative.format(0, "second");
    if (passed < HOUR) return this.#relative.format(-Math.floor(passed / MINUTE), "minute");
    if (passed < DAY) return this.#relative.format(-Math.floor(passed / HOUR), "hour");
    if (days < WEEK) return this.#relative.format(-days, "day");
    const year = then.getFullYear() === new Date(now).getFullYear() ? undefined : "numeric";
    return then.toLocaleDateString(this.language, { day: "numeric", month: "long", year });
  }

  /**
   * The day of a moment: today, yesterday, or its date.
   *
   * @param {string} moment
   * @param {number} now unix time in ms
   */
  day(moment, now) {
    const then = new Date(moment);
    const days = Math.round((midnight(now) - midnight(then)) / DAY);
    const year = then.getFullYear() === new Date(now).getFullYear() ? undefined : "numeric";
    const said = days < 2
      ? this.#relative.format(-Math.max(0, days), "day")
      : then.toLocaleDateString(this.language, { weekday: "long", day: "numeric", month: "long", year });
    return said.charAt(0).toLocaleUpperCase(this.language) + said.slice(1);
  }

  /** @param {string} moment */
  exactly(moment) {
    return new Date(moment).toLocaleString(this.language, { dateStyle: "full", timeStyle: "short" });
  }

  /**
   * Why nothing comes any more.
   *
   * @param {number} code the hub's close code, or an HTTP status
   */
  closed(code) {
    const { signedOut, forbidden, ended } = this.words;
    if (code === 403 || code === 4503) return forbidden;
    return code === 401 || code >= 4500 ? signedOut : ended;
  }
}

/** @param {Date | number} moment */
function midnight(moment) {
  return new Date(moment).setHours(0, 0, 0, 0);
}
