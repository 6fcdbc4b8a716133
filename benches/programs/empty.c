// Question: what does starting and ending a process cost when the program does nothing?
int main(void) { return 0; }
