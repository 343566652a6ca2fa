// Finds sections that have all words, wherever they stand; those with a word in the
// title come first. The sections are part of this file: nothing is asked of a server.
function find(sections, text) {
	const words = text.toLowerCase().split(/\s+/).filter((w) => w !== "");
	if (words.length === 0) return [];
	const found = [];
	for (const section of sections) {
		const title = (section.t + " " + section.p).toLowerCase();
		const content = section.c.toLowerCase();
		let weight = 0;
		for (const word of words) {
			if (section.t.toLowerCase().includes(word)) weight += 4;
			else if (title.includes(word)) weight += 2;
			else if (content.includes(word)) weight += 1;
			else { weight = -1; break; }
		}
		if (weight >= 0) found.push({ section, weight, at: content.indexOf(words[0]) });
	}
	found.sort((a, b) => b.weight - a.weight);
	return found.slice(0, 30);
}

function show(list, up, text) {
	list.replaceChildren();
	for (const { section, at } of find(sections, text)) {
		const link = document.createElement("a");
		link.href = up + section.u;
		link.textContent = section.t === section.p ? section.t : section.p + ": " + section.t;
		const around = document.createElement("small");
		around.textContent = section.c.slice(Math.max(0, at - 40), Math.max(0, at - 40) + 140);
		const item = document.createElement("li");
		item.append(link, around);
		list.append(item);
	}
	list.hidden = text.trim() === "";
}

if (typeof document !== "undefined") {
	const input = document.getElementById("search");
	const list = document.getElementById("found");
	input.addEventListener("input", () => show(list, document.body.dataset.up, input.value));
}
