/*
 * Decimals of dollars, exactly: whole numbers of 10^-18 dollars as BigInt.
 *
 * Rounding is for eyes alone, and as the command line does it: the total is rounded half
 * to even and shared out to the rows by largest remainder, so that what is shown adds up.
 */
const PLACES = 18;
const DOLLAR = 10n ** BigInt(PLACES);

/* "-1.25" as atto-dollars. */
export function parse(text) {
    const [, sign, whole, part = ""] = /^(-?)(\d+)(?:\.(\d{1,18}))?$/.exec(text);
    const size = BigInt(whole) * DOLLAR + BigInt(part.padEnd(PLACES, "0"));

    return sign ? -size : size;
}

const abs = (n) => (n < 0n ? -n : n);

/* How many decimals show the largest of these. */
export function decimalsFor(amounts) {
    const known = amounts.filter((a) => a !== null);
    const most = known.reduce((m, a) => (abs(a) > m ? abs(a) : m), 0n);

    if (most >= 100n * DOLLAR || known.every((a) => a % (DOLLAR / 100n) === 0n))
        return 2;
    if (most >= DOLLAR / 10n)
        return 4;
    return most >= DOLLAR / 1000n ? 6 : 9;
}

/* n / d rounded half to even; d > 0. */
function divideEven(n, d) {
    const size = abs(n);
    const down = size / d, rest = (size % d) * 2n;
    const up = rest > d || (rest === d && down % 2n === 1n) ? down + 1n : down;

    return n < 0n ? -up : up;
}

const unitOf = (decimals) => 10n ** BigInt(PLACES - decimals);

/* Whole units of 10^-decimals as "$1,234.50". */
function text(units, decimals) {
    const digits = abs(units).toString().padStart(decimals + 1, "0");
    const whole = digits.slice(0, digits.length - decimals);
    const part = decimals ? "." + digits.slice(digits.length - decimals) : "";

    return (units < 0n ? "\u2212$" : "$") + whole.replace(/\B(?=(\d{3})+$)/g, ",") + part;
}

/* One amount, rounded half to even. */
export function show(amount, decimals = decimalsFor([amount])) {
    return text(divideEven(amount, unitOf(decimals)), decimals);
}

/* All digits there are. */
export function showExact(amount) {
    const part = (abs(amount) % DOLLAR).toString().padStart(PLACES, "0").replace(/0+$/, "");

    return text(amount / unitOf(part.length), part.length);
}

/* For the height of a bar; never added up. */
export const forChart = (value) => (value === null || value === undefined ? null : Number(value));

/*
 * Texts of a column whose amounts (null: unknown) add up to total: rounded down, then the
 * units that are missing go to the largest remainders.
 */
export function showColumn(amounts, total, decimals) {
    const unit = unitOf(decimals);
    const units = divideEven(total, unit);
    const parts = amounts.map((a, i) => {
        const whole = a ?? 0n;
        let down = whole / unit;
        if (down * unit > whole)
            down -= 1n;
        return { i, down, rest: whole - down * unit, size: whole };
    });
    let missing = units - parts.reduce((sum, p) => sum + p.down, 0n);
    const order = [...parts].sort((a, b) => (b.rest > a.rest) - (b.rest < a.rest) ||
                                            (b.size > a.size) - (b.size < a.size) || a.i - b.i);

    for (const part of order) {
        if (missing <= 0n)
            break;
        part.down += 1n;
        missing -= 1n;
    }
    return parts.map((p, i) => (amounts[i] === null ? null : text(p.down, decimals)));
}

/* Does the column add up to its total? */
export function addsUp(amounts, total) {
    return total !== null && amounts.reduce((sum, a) => sum + (a ?? 0n), 0n) === total;
}

/* An amount for each of n, rounded half to even at the last place; null where n is 0. */
export const mean = (amount, n) => (n > 0 ? divideEven(amount, BigInt(n)) : null);

/* As the API writes amounts. */
export function plain(amount) {
    const part = (abs(amount) % DOLLAR).toString().padStart(PLACES, "0").replace(/0+$/, "");

    return (amount < 0n ? "-" : "") + abs(amount) / DOLLAR + (part ? "." + part : "");
}
